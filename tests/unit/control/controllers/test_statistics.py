"""What `/metrics` tells of the Models."""

from prometheus_client import CollectorRegistry, generate_latest

from stationkeeper.control.controllers.statistics import ModelStatistics
from stationkeeper.control.kube.store import Store
from tests.support.world import World, policy


def exposed(*models) -> list[str]:
    store = Store()
    for model in models:
        store.put({**model, "metadata": {**model["metadata"], "resourceVersion": "1"}})
    registry = CollectorRegistry()
    registry.register(ModelStatistics(store))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_the_statuses_of_models_are_metrics():
    world = World(policies=(policy(quality={"metric": "roc_auc", "min": 0.6}),))
    world.serve_first()
    world.check(("Passed", "Breached", "Passed"), quality=("Passed",))
    world.settle()
    lines = exposed(world.model)
    where = 'model="flights",namespace="ops"'
    assert f"stationkeeper_model_serving_revision{{{where}}} 1.0" in lines
    assert f'stationkeeper_window_rows{{{where},policy="watch"}} 1000.0' in lines
    verdicts = [line for line in lines if line.startswith("stationkeeper_window_verdict")]
    assert [line.split('group="')[1].split("}")[0] for line in verdicts] == [
        'data",model="flights",namespace="ops",policy="watch",verdict="Passed"',
        'features",model="flights",namespace="ops",policy="watch",verdict="Breached"',
        'predictions",model="flights",namespace="ops",policy="watch",verdict="Passed"',
        'quality",model="flights",namespace="ops",policy="watch",verdict="Passed"',
    ]
    (window,) = world.model["status"]["checks"][0]["windows"]
    assert f'stationkeeper_window_end_timestamp_seconds{{{where},policy="watch"}}' in "\n".join(lines)
    assert f'stationkeeper_windows_breached{{group="features",{where},policy="watch"}} 1.0' in lines
    assert f'stationkeeper_windows_breached{{group="quality",{where},policy="watch"}} 0.0' in lines
    assert f'stationkeeper_quality_labels{{{where},policy="watch"}} 500.0' in lines
    assert f'stationkeeper_quality_score{{{where},policy="watch"}} 0.75' in lines
    assert f'stationkeeper_quality_skill{{{where},policy="watch"}} 0.25' in lines
    assert f'stationkeeper_window_rows{{{where},policy="watch"}} {window["rows"]}.0' in lines
    conditions = [line for line in lines if line.startswith("stationkeeper_model_condition")]
    assert len(conditions) == len(world.model["status"]["conditions"])


def test_a_policy_tells_of_how_many_models_and_how_many_drifted():
    lines = exposed(
        {**policy(), "status": {"models": 7, "drifted": 2}}, policy() | {"metadata": {**policy()["metadata"], "name": "new"}}
    )
    told = sorted(line for line in lines if line.startswith("stationkeeper_policy"))
    assert told == [
        'stationkeeper_policy_drifted_models{namespace="ops",policy="new"} 0.0',
        'stationkeeper_policy_drifted_models{namespace="ops",policy="watch"} 2.0',
        'stationkeeper_policy_models{namespace="ops",policy="new"} 0.0',
        'stationkeeper_policy_models{namespace="ops",policy="watch"} 7.0',
    ]


def test_the_number_of_series_does_not_grow_with_windows_or_columns():
    world = World(policies=(policy(quality={"metric": "roc_auc", "min": 0.6}),))
    world.serve_first()
    world.check(("Passed", "Breached", "Passed"), quality=("Passed",))
    world.settle()
    before = len(exposed(world.model))
    for _ in range(20):
        world.advance(minutes=1)
        world.check(("Passed", "Breached", "Passed"), quality=("Passed",))
        world.settle()
    assert len(exposed(world.model)) == before


def test_a_status_that_cannot_be_read_is_left_out():
    world = World()
    assert exposed({**world.model, "status": {"conditions": "all is well"}}) == []
