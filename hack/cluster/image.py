"""The pause image: ten lines of C, static, packed by hand, for there may be no registry to pull it from."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
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


def pause_archive(path: Path) -> Path:
    """Build the pause image as a docker-archive, once.

    Raises:
        ClusterError: when there is no C compiler.
    """
    if path.exists():
        return path
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise ClusterError("a C compiler is needed for the pause image: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory() as scratch:
        source, program = Path(scratch) / "pause.c", Path(scratch) / "pause"
        source.write_text(_PAUSE, encoding="utf-8")
        subprocess.run([compiler, "-Os", "-static", "-s", "-o", str(program), str(source)], check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        write_archive(partial, PAUSE_IMAGE, {"pause": program.read_bytes()}, ["/pause"])
        partial.rename(path)
    return path


def write_archive(path: Path, name: str, files: dict[str, bytes], entrypoint: list[str], user: str = "65532:65532") -> None:
    """Write a one-layer image of executable files as a docker-archive that containerd imports."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for file, content in files.items():
            info = tarfile.TarInfo(file)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    blob = layer.getvalue()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "User": user},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(blob).hexdigest()}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, mode="w") as tar:
        for file, content in {"config.json": config, "layer.tar": blob, "manifest.json": manifest}.items():
            info = tarfile.TarInfo(file)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
