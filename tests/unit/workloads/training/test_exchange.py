"""What an attempt and a workload on other machines hand each other: rows out, a model in, each written once."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import FailureSummary, HandoverSummary, TrainingSummary
from stationkeeper.workloads.artifacts.errors import NotFound, StoreUnavailable
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.jobs import train as job
from stationkeeper.workloads.training import exchange
from stationkeeper.workloads.training.handover import Paths
from tests.support.memory_store import MemoryStore
from tests.unit.workloads.training import pod


def config() -> TrainConfig:
    base = pod.config(gates=[{"metric": "roc_auc", "min": 0.6}])
    training = base.training.wire()
    del training["estimator"]
    training |= {"workload": {"template": "torch", "task": "Classification", "parameters": {"workers": "2"}}}
    return base.model_copy(update={"training": type(base.training).model_validate(training)})


class Attempt:
    """The attempt's own pod, and one machine of the workload."""

    def __init__(self, tmp: Path) -> None:
        self.store = MemoryStore()
        rows = MemoryStore({"a.parquet": pod.parquet(pod.rows())}, "s3://lake/rows")
        self.pod, self.machine = pod.Pod(tmp / "pod", self.store, rows), Paths.under(tmp / "machine")

    def prepare(self) -> object:
        summary, code = job.step_prepare(config(), self.pod.paths, self.pod.open)
        assert code == 0
        return summary


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path)


def model(paths: Paths) -> bytes:
    """A model of the contract, trained on what `fetch` brought."""
    rows = pl.read_parquet(paths.input)
    inputs = rows.drop("target")
    numbers = [name for name in inputs.columns if name.startswith("n")]
    made = make_pipeline(make_column_transformer((SimpleImputer(), numbers)), LogisticRegression())
    made.fit(inputs, rows["target"].to_numpy())
    return skops.io.dumps(made)


def never(_: float) -> None:
    raise AssertionError("there is nothing to wait for")


def test_rows_go_out_and_the_model_comes_back_and_is_published(attempt: Attempt) -> None:
    handed = attempt.prepare()
    assert isinstance(handed, HandoverSummary)
    assert handed.rows == 640
    exchange.fetch(config(), attempt.store, attempt.machine)
    assert attempt.machine.train.read_bytes() == attempt.pod.paths.train.read_bytes()
    assert not attempt.machine.holdout.exists(), "the rows that judge stay with the judge"
    attempt.machine.fitted.write_bytes(model(attempt.machine))
    (attempt.machine.model / exchange.DONE).touch()
    assert exchange.deliver(config(), attempt.store, attempt.machine, lambda: False, never)
    assert job.step_collect(config(), attempt.pod.paths, attempt.pod.open) == (None, 0)
    summary, code = job.step_publish(config(), attempt.pod.paths, attempt.pod.open)
    assert isinstance(summary, TrainingSummary)
    assert (summary.outcome, code) == (TrainingOutcome.PUBLISHED, 0)
    manifest = load_manifest(attempt.store, summary.digest or "")
    assert (manifest.estimator, manifest.params) == ("workload torch", {"workers": "2"})
    assert manifest.evaluation.refit == "None", "whether their code would do the same again is not ours to say"


def test_nothing_is_delivered_before_training_says_that_it_is_whole(attempt: Attempt) -> None:
    attempt.prepare()
    exchange.fetch(config(), attempt.store, attempt.machine)
    attempt.machine.fitted.write_bytes(b"half a mod")
    looks = []

    def wait(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            attempt.machine.fitted.write_bytes(b"a whole model")
            (attempt.machine.model / exchange.DONE).touch()

    assert exchange.deliver(config(), attempt.store, attempt.machine, lambda: False, wait)
    assert len(looks) == 3
    assert attempt.store.objects["episodes/e1/1/exchange/model.skops"] == b"a whole model"


def test_a_pod_that_is_told_to_end_has_a_last_look(attempt: Attempt) -> None:
    attempt.prepare()
    exchange.fetch(config(), attempt.store, attempt.machine)

    def told(_: float) -> None:  # training ended in the same moment
        attempt.machine.onnx.write_bytes(b"onnx")
        (attempt.machine.model / exchange.DONE).touch()

    assert exchange.deliver(config(), attempt.store, attempt.machine, lambda: True, told)
    assert "episodes/e1/1/exchange/model.onnx" in attempt.store.objects


def test_a_machine_that_only_helps_delivers_nothing(attempt: Attempt) -> None:
    attempt.prepare()
    exchange.fetch(config(), attempt.store, attempt.machine)
    assert not exchange.deliver(config(), attempt.store, attempt.machine, lambda: True, lambda _: None)


@pytest.mark.parametrize("left", [[], ["model.skops", "model.onnx"], ["link"]])
def test_what_is_not_one_model_is_told_as_why_there_is_none(attempt: Attempt, left: list[str], tmp_path: Path) -> None:
    attempt.prepare()
    exchange.fetch(config(), attempt.store, attempt.machine)
    for name in left:
        if name == "link":
            secret = tmp_path / "secret"
            secret.write_bytes(b"a file that is none of theirs")
            attempt.machine.fitted.symlink_to(secret)
        else:
            (attempt.machine.model / name).write_bytes(b"x")
    (attempt.machine.model / exchange.DONE).touch()
    assert exchange.deliver(config(), attempt.store, attempt.machine, lambda: False, never)
    exchange.collect(config(), attempt.store, attempt.pod.paths, never)
    summary, code = job.step_publish(config(), attempt.pod.paths, attempt.pod.open)
    assert isinstance(summary, TrainingSummary)
    assert (summary.outcome, code) == (TrainingOutcome.FAILED, 3)
    assert "it must leave one of them" in summary.message
    assert b"none of theirs" not in b"".join(attempt.store.objects.values())


def test_what_training_says_of_its_failure_is_told(attempt: Attempt) -> None:
    attempt.prepare()
    exchange.fetch(config(), attempt.store, attempt.machine)
    said = FailureSummary(reason="OutOfRange", message="the loss is not a number")
    attempt.machine.broken.write_bytes(said.encode())
    (attempt.machine.model / exchange.DONE).touch()
    exchange.deliver(config(), attempt.store, attempt.machine, lambda: False, never)
    exchange.collect(config(), attempt.store, attempt.pod.paths, never)
    summary, _ = job.step_publish(config(), attempt.pod.paths, attempt.pod.open)
    assert isinstance(summary, TrainingSummary)
    assert (summary.reason, summary.message) == ("OutOfRange", said.message)


def test_of_two_models_the_first_counts_and_a_pod_that_prepares_again_changes_nothing(attempt: Attempt) -> None:
    attempt.prepare()
    rows = {key: data for key, data in attempt.store.objects.items() if "/exchange/" in key}
    for number in (1, 2):
        exchange.fetch(config(), attempt.store, attempt.machine)
        attempt.machine.onnx.write_bytes(b"model %d" % number)
        (attempt.machine.model / exchange.DONE).touch()
        assert exchange.deliver(config(), attempt.store, attempt.machine, lambda: False, never)
        attempt.prepare()
    assert attempt.store.objects["episodes/e1/1/exchange/model.onnx"] == b"model 1"
    assert {key: attempt.store.objects[key] for key in rows} == rows


def test_the_wait_for_a_model_outlasts_a_store_that_does_not_answer(attempt: Attempt) -> None:
    attempt.prepare()
    looks = []

    def before(operation: str, key: str) -> None:
        if operation == "exists" and len(looks) < 2:
            raise StoreUnavailable("the store does not answer")

    attempt.store.before = before

    def wait(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 4:
            attempt.store.objects["episodes/e1/1/exchange/model.onnx"] = b"here it is"

    exchange.collect(config(), attempt.store, attempt.pod.paths, wait)
    assert attempt.pod.paths.onnx.read_bytes() == b"here it is"
    assert len(looks) == 4


def test_rows_that_are_not_there_are_an_error(attempt: Attempt) -> None:
    with pytest.raises(NotFound):
        exchange.fetch(config(), attempt.store, attempt.machine)


def test_an_attempt_that_has_ended_waits_for_nothing(attempt: Attempt) -> None:
    assert isinstance(attempt.prepare(), HandoverSummary)
    exchange.fetch(config(), attempt.store, attempt.machine)
    attempt.machine.fitted.write_bytes(model(attempt.machine))
    (attempt.machine.model / exchange.DONE).touch()
    exchange.deliver(config(), attempt.store, attempt.machine, lambda: False, never)
    job.step_collect(config(), attempt.pod.paths, attempt.pod.open)
    job.step_publish(config(), attempt.pod.paths, attempt.pod.open)
    again = pod.Pod(attempt.pod.paths.data.parent / "again", attempt.store, attempt.pod.source)
    assert job.step_prepare(config(), again.paths, again.open) == (None, 0), "no word that would bring machines"
    assert job.step_collect(config(), again.paths, again.open) == (None, 0)
    summary, _ = job.step_publish(config(), again.paths, again.open)
    assert isinstance(summary, TrainingSummary)
    assert summary.outcome is TrainingOutcome.PUBLISHED
    assert np.isfinite(summary.metrics["roc_auc"])
