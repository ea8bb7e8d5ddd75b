"""A holdout of its own (`evaluation.holdout.uri`): frozen like the data, read whole, whatever its age."""

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Manifest
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training import reading, schema
from stationkeeper.workloads.training.divide import Frozen
from stationkeeper.workloads.training.ending import AttemptEnded, invalid
from stationkeeper.workloads.training.handover import Paths
from stationkeeper.workloads.training.inputs import Opened, fetch, freeze
from stationkeeper.workloads.training.sample import Limit


def frozen_holdout(
    config: TrainConfig, artifacts: Store, opened: Opened, paths: Paths, champion: Manifest | None, *, classifier: bool
) -> Frozen | None:
    """Freeze the list of its objects and read them; None where the holdout is a part of the data.

    Raises:
        AttemptEnded: InvalidData.
    """
    uri = config.training.evaluation.holdout.uri
    if uri is None:
        return None
    changes: dict[str, object] = {"uri": uri, "sources": [], "window": None, "windows": None, "feedback": None, "max_rows": None}
    data = config.training.data.model_copy(update=changes)
    key = keys.frozen_holdout(config.episode, config.attempt)
    try:
        inputs = freeze(artifacts, opened, key, data, artifacts.uri(""))
        files = fetch(opened, inputs, paths.work / "holdout")
        present = {name for file in files for name in reading.columns_of(file)}
        schema.check_present(present, data, uri)
        limit = Limit(None, data.timestamp, data.target, sorted(present), config.model.uid)
        frame = reading.read_window(files, data, schema.wanted_columns(present, config.training, champion), None, limit).drop(
            reading.OBJECT
        )
        rows = schema.with_target(frame, data.target, classifier=classifier)
    except AttemptEnded as ending:
        raise invalid(ending.reason, f"evaluation.holdout.uri: {ending.message}") from ending
    for file in files:
        file.path.unlink()
    return Frozen(rows, inputs.digest)
