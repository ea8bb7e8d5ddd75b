"""`python -m hack.images`: build the images, and load them into the cluster."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hack.cluster import existing, node, paths
from hack.cluster.paths import REPOSITORY, cache
from hack.cluster.say import ClusterError, say
from hack.cluster.tools import tool
from hack.images.context import PARTS, base, context, digest
from hack.images.engine import Engine, find

IMAGES = ("operator", "workloads", "versitygw")
EPILOG = """\
TAG (default dev) names the images, REGISTRY=host/path pushes them there, BASE chooses another base image with Python 3.11.
Nothing is built that has not changed.
"""


def name(image: str) -> str:
    """The full name of an image, as pods ask for it."""
    registry = os.environ.get("REGISTRY")
    prefix = f"{registry.rstrip('/')}/" if registry else ""
    return f"{prefix}stationkeeper/{image}:{os.environ.get('TAG', 'dev')}"


def build(image: str, engine: Engine) -> Path:
    """Build one image unless that very content was built before. Returns its archive."""
    if image == "versitygw":
        program = tool("versitygw")
        key = program.parent.name
    else:
        sources = [REPOSITORY / "Containerfile", REPOSITORY / "requirements" / f"{image}.txt"]
        package = REPOSITORY / "operator" / "stationkeeper"
        key = digest([*sources, *(package / part for part in PARTS[image])])
    tag = name(image)
    archive = cache() / "images" / f"{image}-{tag.rpartition(':')[2]}-{key}.tar"
    if archive.exists():
        say(f"{tag}: unchanged")
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    log = cache() / "images" / f"{image}.log"
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        if image == "versitygw":
            shutil.copyfile(program, Path(scratch) / "versitygw")
            (Path(scratch) / "versitygw").chmod(0o755)
            file = REPOSITORY / "hack" / "images" / "versitygw.Containerfile"
            engine.build(Path(scratch), file, tag, None, {}, log)
        else:
            where = context(Path(scratch), image)
            lock = digest([REPOSITORY / "requirements" / f"{image}.txt"])
            engine.build(where, REPOSITORY / "Containerfile", tag, image, {"BASE": base(engine), "LOCK": lock}, log)
    for old in archive.parent.glob(f"{image}-{tag.rpartition(':')[2]}-*.tar"):
        old.unlink()
    engine.push(tag, log) if os.environ.get("REGISTRY") else engine.save(tag, archive, log)
    if os.environ.get("REGISTRY"):
        archive.touch()  # only says that it was pushed
    else:
        say(f"{tag}: {archive.stat().st_size / 1e6:.0f} MB")
    return archive


def load(archives: list[Path], directory: Path) -> None:
    """Load archives into the cluster, but for those that it has."""
    if existing.wanted():
        existing.load(archives)
        return
    marks = directory / "loaded"
    marks.mkdir(exist_ok=True, parents=True)
    for archive in archives:
        mark = marks / archive.name
        if mark.exists():
            continue
        # Every build has the same tag: whatever was loaded before is hidden by this one, and is loaded again when it comes back.
        for hidden in marks.glob(f"{archive.name.rpartition('-')[0]}-*"):
            hidden.unlink()
        node.load(directory, [archive])
        mark.touch()


def main() -> int:
    """Build, and load unless told not to."""
    parser = argparse.ArgumentParser(
        prog="python -m hack.images", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="*", choices=[*IMAGES, []], help=f"which (default: all of {', '.join(IMAGES)})")
    parser.add_argument("--no-load", action="store_true", help="build only")
    parser.add_argument("--name", default="stationkeeper", help="name of the cluster to load into")
    args = parser.parse_args()
    try:
        engine = find()
        archives = [build(image, engine) for image in args.images or IMAGES]
        if not args.no_load:
            load(archives, paths.cluster_directory(args.name))
    except (ClusterError, subprocess.SubprocessError) as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
