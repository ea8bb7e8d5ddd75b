"""The cluster that the user names: USE_EXISTING_CLUSTER=1 with KUBECONFIG and CONTEXT. It is used, never changed here."""

import json
import os
import subprocess
from pathlib import Path

from hack.cluster.paths import names_existing
from hack.cluster.say import ClusterError, say
from hack.cluster.tools import tool

OLDEST = (1, 31)


def wanted() -> bool:
    """Whether the user named a cluster."""
    return names_existing()


def up(directory: Path) -> Path:
    """Check that the cluster answers and is new enough. Returns a kubeconfig with just that context.

    Raises:
        ClusterError: when it does not answer or is too old.
    """
    context = os.environ.get("CONTEXT")
    choose = [f"--context={context}"] if context else []
    config = _kubectl(*choose, "config", "view", "--minify", "--flatten", "--raw")
    said = json.loads(_kubectl(*choose, "version", "-o", "json"))["serverVersion"]
    version = (int(said["major"]), int("".join(c for c in said["minor"] if c.isdigit())))
    if version < OLDEST:
        raise ClusterError(f"that cluster runs Kubernetes {version[0]}.{version[1]}; {OLDEST[0]}.{OLDEST[1]} or newer is needed")
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(config, encoding="utf-8")
    say(f"using the cluster of context {context or 'current'} (Kubernetes {said['gitVersion']})")
    return path


def ready(kubeconfig: Path) -> bool | str:
    """True when the cluster answers that it is ready, else why not."""
    try:
        return _kubectl(f"--kubeconfig={kubeconfig}", "get", "--raw", "/readyz").strip() == "ok"
    except ClusterError as error:
        return str(error)


def load(archives: list[Path]) -> None:
    """Hand images to the user's cluster: by IMAGE_LOAD, or not at all where REGISTRY has them already.

    Raises:
        ClusterError: when neither is set, or the command fails.
    """
    command = os.environ.get("IMAGE_LOAD")
    if not command:
        if os.environ.get("REGISTRY"):
            return
        raise ClusterError("say how images reach that cluster: IMAGE_LOAD='kind load image-archive', or REGISTRY=<host>/<path>")
    # The command may be `python -m hack.cluster load --name ...`, for a node of ours: it must not come back here.
    environment = {key: value for key, value in os.environ.items() if key != "USE_EXISTING_CLUSTER"}
    for archive in archives:
        say(f"loading {archive.name}: {command} {archive}")
        # By a shell, so that a pipe or a variable in it works; the path is an argument of its own, whatever is in it.
        if subprocess.run(["sh", "-c", f'{command} "$1"', "sh", str(archive)], env=environment, check=False).returncode:
            raise ClusterError(f"IMAGE_LOAD failed: {command} {archive}")


def _kubectl(*args: str) -> str:
    done = subprocess.run([str(tool("kubectl")), *args], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise ClusterError(f"the cluster you named does not answer: {done.stderr.strip()}; check KUBECONFIG and CONTEXT")
    return done.stdout
