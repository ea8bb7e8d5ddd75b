"""Docker, Podman or Buildah: whichever is there and works."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.paths import cache
from hack.cluster.say import ClusterError, Progress, say


@dataclass(frozen=True)
class Engine:
    """A program that builds images."""

    name: str
    command: tuple[str, ...]

    def works(self) -> bool:
        """Whether it can be used here."""
        return subprocess.run([*self.command, "info"], capture_output=True, check=False).returncode == 0

    def build(self, context: Path, file: Path, tag: str, target: str | None, arguments: Mapping[str, str], log: Path) -> None:
        """Build one target of a Containerfile."""
        verb = {
            "buildah": ["bud", "--layers", "--isolation", "chroot"],
            "podman": ["build", "--security-opt", "label=disable"],  # SELinux would hide the mounted wheels
        }.get(self.name, ["build"])
        flags = ["--file", str(file), "--tag", tag, *(["--target", target] if target else [])]
        flags += [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
        self._run([*verb, *flags, str(context)], f"building {tag}", log)
        if self.name == "buildah":  # the store is ours alone: layers that no image is built on any more go
            subprocess.run([*self.command, "rmi", "--prune"], capture_output=True, check=False)

    def save(self, tag: str, archive: Path, log: Path) -> None:
        """Write an image as a docker-archive."""
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        if self.name == "buildah":
            self._run(["push", tag, f"docker-archive:{partial}:{tag}"], f"saving {tag}", log)
        else:
            form = ["--format", "docker-archive"] if self.name == "podman" else []
            self._run(["save", *form, "-o", str(partial), tag], f"saving {tag}", log)
        partial.rename(archive)

    def push(self, tag: str, log: Path) -> None:
        """Push an image to the registry that its name begins with."""
        self._run(["push", tag], f"pushing {tag}", log)

    def has(self, image: str) -> bool:
        """Whether an image is there, or can be pulled."""
        inspect = ["inspect", "--type", "image", image] if self.name != "docker" else ["image", "inspect", image]
        for arguments in (inspect, ["pull", image]):
            try:
                if subprocess.run([*self.command, *arguments], capture_output=True, timeout=300, check=False).returncode == 0:
                    return True
            except subprocess.TimeoutExpired:
                return False
        return False

    def _run(self, arguments: Sequence[str], what: str, log: Path) -> None:
        with Progress(what) as progress, log.open("ab") as output:
            process = subprocess.Popen(
                [*self.command, *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"DOCKER_BUILDKIT": "1"},  # before docker 23 one had to ask for it
            )
            while process.poll() is None:
                progress.tick()
                try:
                    process.wait(1)
                except subprocess.TimeoutExpired:
                    continue
        if process.returncode:
            raise ClusterError(f"{what} failed; the end of {log}:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")


def find() -> Engine:
    """The engine of this machine; Buildah is installed where there is none and that can be done.

    Raises:
        ClusterError: when there is none.
    """
    for name in ("docker", "podman"):
        engine = Engine(name, (name,))
        if shutil.which(name) and engine.works():
            return engine
    if not shutil.which("buildah"):
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise ClusterError("no container engine works here: start docker, or install podman or buildah")
        say("machine: installing the package buildah with apt-get")
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "buildah"]):
            subprocess.run(command, capture_output=True, check=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    return next(engine for engine in map(_buildah, ("overlay", "vfs")) if engine.works())


def _buildah(driver: str) -> Engine:
    """Buildah with a store of its own in the cache. vfs copies whole trees, but works on any file system and in any container."""
    store = cache() / "images" / f"buildah-{driver}"
    where = ("--storage-driver", driver, "--root", str(store / "root"), "--runroot", str(store / "run"))
    return Engine("buildah", ("buildah", *where))
