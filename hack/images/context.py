"""What goes into a build: the clone's sources, the locked wheels, the S3 server's program, a base image where none can be pulled."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from hack.cluster.paths import REPOSITORY, cache
from hack.cluster.say import ClusterError, Progress, say
from hack.images.engine import Engine

PUBLIC_BASE = "python:3.11-slim-bookworm"
LOCAL_BASE = "localhost/stationkeeper/base:bookworm"
# What each image has of the package: the contract, and its plane.
PARTS = {
    "operator": ("__init__.py", "api", "control"),
    "workloads": ("__init__.py", "api", "workloads"),
}
PYTHON = "3.11"  # of the base image; wheels are chosen for it, not for this machine's Python


def digest(paths: Iterable[Path]) -> str:
    """Sixteen hex digits over names and contents of files (directories: all files below but compiled ones)."""
    value = hashlib.sha256()
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc") if path.is_dir() else [path]
        for file in files:
            value.update(str(file.relative_to(REPOSITORY)).encode())
            value.update(file.read_bytes())
    return value.hexdigest()[:16]


def wheels(which: str) -> Path:
    """A directory with the locked wheels of `operator` or `workloads`, and pip as `pip.whl`; downloaded once per lock."""
    lock = REPOSITORY / "requirements" / f"{which}.txt"
    home = cache() / "wheels" / f"{which}-{digest([lock])}"
    if home.is_dir():
        return home
    partial = home.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    chosen = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", "--dest", str(partial)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    for arguments in (["--require-hashes", "-r", str(lock)], ["--no-deps", "pip"]):
        with Progress(f"gathering wheels for {which} (once per lock)"):
            done = subprocess.run([*pip, *chosen, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"pip download failed:\n{done.stderr[-2000:]}")
    (found,) = partial.glob("pip-*.whl")
    found.rename(partial / "pip.whl")
    partial.rename(home)
    return home


def context(scratch: Path, which: str) -> Path:
    """Lay out the build context of one image in a scratch directory: its wheels, its lock, its plane's sources."""
    shutil.copytree(wheels(which), scratch / "wheels", copy_function=os.link)
    shutil.copyfile(REPOSITORY / "requirements" / f"{which}.txt", scratch / "wheels" / "requirements.txt")
    package = REPOSITORY / "operator" / "stationkeeper"
    for part in PARTS[which]:
        target = scratch / "stationkeeper" / part
        target.parent.mkdir(exist_ok=True)
        if (package / part).is_dir():
            shutil.copytree(package / part, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(package / part, target)
    return scratch


def base(engine: Engine) -> str:
    """The base image: BASE, else the public one, else one made with debootstrap where no registry can be reached."""
    if wanted := os.environ.get("BASE"):
        return wanted
    local = cache() / "images" / "base.tar"
    if local.exists() or not engine.has(PUBLIC_BASE):
        return _local_base(engine, local)
    return PUBLIC_BASE


def _local_base(engine: Engine, archive: Path) -> str:
    if not archive.exists():
        _debootstrap(archive)
    log = archive.with_suffix(".log")
    if not engine.has(LOCAL_BASE):
        file = archive.with_suffix(".Containerfile")
        file.write_text(f"FROM scratch\nADD {archive.name} /\n", encoding="utf-8")
        engine.build(archive.parent, file, LOCAL_BASE, None, {}, log)
    return LOCAL_BASE


def _debootstrap(archive: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ClusterError(f"the base image {PUBLIC_BASE} cannot be pulled: set BASE to one that can, with Python {PYTHON}")
    if not shutil.which("debootstrap"):
        say("machine: installing the package debootstrap with apt-get")
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "debootstrap"]):
            subprocess.run(command, capture_output=True, check=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    tree = archive.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with Progress("no registry answers: making a base image from Debian's packages (once)"):
        command = ["debootstrap", "--variant=minbase", "--include=python3,ca-certificates", "bookworm", str(tree)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"debootstrap failed:\n{done.stdout[-2000:]}{done.stderr[-1000:]}")
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(tree / waste, ignore_errors=True)
        partial = archive.with_suffix(".partial")
        subprocess.run(["tar", "-C", str(tree), "--numeric-owner", "--exclude=./dev/*", "-cf", str(partial), "."], check=True)
        partial.rename(archive)
        shutil.rmtree(tree)
