"""The model of a revision for a server that is not ours: `python -m stationkeeper.workloads.jobs.fetch`.

Leaves in /mnt/model:

    manifest.json                             what the model is asked and answers
    model.onnx | model.skops | ...            its files, each hashed again
    repository/<model>/<revision>/<file>      the same files, as Triton and others want to find them

They are written elsewhere first: a server never sees half a model, and a container that starts again begins anew.
"""

import logging
import os
import shutil
import sys
from pathlib import Path

from stationkeeper.api.base import canonical_json
from stationkeeper.api.jobs import FetchConfig
from stationkeeper.api.manifest import MODEL_FILES
from stationkeeper.api.meta import EXIT_OK, EXIT_TRANSIENT, PATH_MODEL
from stationkeeper.api.summary import Summary
from stationkeeper.workloads.artifacts.blobs import get_blob
from stationkeeper.workloads.artifacts.errors import DigestMismatch, MalformedArtifact, StoreDenied
from stationkeeper.workloads.artifacts.manifests import load_manifest
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs._run import configure_logging, failure, run

log = logging.getLogger(__name__)

ENV_ROOT = "STATIONKEEPER_ROOT"  # moves the directory, for use outside a pod


def fetch(config: FetchConfig, store: Store, where: Path) -> None:
    """Write the files of a revision below `where`.

    Raises:
        ArtifactError: DigestMismatch or MalformedArtifact, when they are not those that were published.
        StoreError: when the store fails.
    """
    manifest = load_manifest(store, config.revision.digest)
    wanted = {name: ref for name, ref in manifest.files.items() if name in MODEL_FILES.values()}
    if MODEL_FILES[manifest.format] not in wanted:
        raise MalformedArtifact(f"revision {manifest.number} of {manifest.model} has no file {MODEL_FILES[manifest.format]}")
    partial = where / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    repository = partial / "repository" / config.model.name / str(config.revision.number)
    repository.mkdir(parents=True)
    for name, ref in wanted.items():
        (partial / name).write_bytes(get_blob(store, ref))
        os.link(partial / name, repository / name)
    (partial / "manifest.json").write_bytes(canonical_json(manifest.wire()))
    for path in sorted(partial.iterdir()):
        target = where / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    partial.rmdir()
    log.info("revision %d (%s) is in %s: %s", config.revision.number, config.revision.digest, where, ", ".join(sorted(wanted)))


def work(config: FetchConfig, store: Store, where: Path) -> tuple[Summary | None, int]:
    """Fetch, and say what hindered it; a store that refuses says nothing about the revision."""
    try:
        fetch(config, store, where)
    except (DigestMismatch, MalformedArtifact) as error:
        summary, code = failure(error)
        log.error("%s", error)
        return summary.model_copy(update={"reason": type(error).__name__}), code
    except StoreDenied as error:
        summary, _ = failure(error)
        log.error("%s", error)
        return summary, EXIT_TRANSIENT
    return None, EXIT_OK


def main() -> int:
    """The process: returns its exit code."""
    configure_logging()
    where = Path(os.environ.get(ENV_ROOT, "/")) / PATH_MODEL.lstrip("/")

    def fetched() -> tuple[Summary | None, int]:
        config = FetchConfig.from_environment()
        return work(config, S3Store.open(config.storage), where)

    return run(fetched)


if __name__ == "__main__":
    sys.exit(main())
