"""The pause image: ten lines of C, static, packed by hand, for there may be no registry to pull it from."""

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.cluster.nodeconfig import PAUSE_IMAGE
from hack.cluster.say import ClusterError

_PAUSE = """
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { _exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
  signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


_PAUSE_GO = """
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			os.Exit(0)
		}
		for pid := 1; pid > 0; pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil) {
		}
	}
}
"""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def pause_archive(path: Path) -> Path:
    """Build the pause image as a docker-archive, once.

    Raises:
        ClusterError: when neither a C compiler nor Go can build it.
    """
    if path.exists():
        return path
    with tempfile.TemporaryDirectory() as scratch:
        program = _compile(Path(scratch))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        write_archive(partial, PAUSE_IMAGE, {"pause": program.read_bytes()}, ["/pause"])
        partial.rename(path)
    return path


def _compile(scratch: Path) -> Path:
    """The pause program: 700 kB by a C compiler; by Go, three times that, where there is none or no static C library."""
    program, c, go = scratch / "pause", scratch / "pause.c", scratch / "pause.go"
    c.write_text(_PAUSE, encoding="utf-8")
    go.write_text(_PAUSE_GO, encoding="utf-8")
    ways = (
        ["cc", "-Os", "-static", "-s", "-o", str(program), str(c)],
        ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), str(go)],
    )
    said = []
    for command in ways:
        if not shutil.which(command[0]):
            continue
        done = subprocess.run(command, cwd=scratch, env=os.environ | {"CGO_ENABLED": "0"}, capture_output=True, check=False)
        if done.returncode == 0:
            return program
        said.append(done.stderr.decode(errors="replace")[-400:])
    raise ClusterError("a C compiler (gcc and libc6-dev) or Go is needed for the pause image: " + " ".join(said))


def write_archive(
    path: Path,
    name: str,
    files: Mapping[str, bytes],
    entrypoint: Sequence[str],
    *,
    links: Mapping[str, str] | None = None,
    user: str = "65532:65532",
) -> None:
    """Write a one-layer image of executable files (and links to them) as a docker-archive that containerd imports."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for file, content in files.items():
            info = tarfile.TarInfo(file)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
        for file, target in (links or {}).items():
            info = tarfile.TarInfo(file)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    blob = layer.getvalue()
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": user, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(blob).hexdigest()}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, mode="w") as tar:
        for file, content in {"config.json": config, "layer.tar": blob, "manifest.json": manifest}.items():
            info = tarfile.TarInfo(file)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
