"""Pinned Go tools, built once into the cache, keyed by what pins them. A fitting kubectl or helm of the machine is used as it is."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster.paths import REPOSITORY, cache
from hack.cluster.say import ClusterError, Progress, tail
from hack.cluster.state import lock

KUBERNETES = "v1.36.3"
_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Module:
    """One Go module of hack/tools and the programs it gives."""

    name: str
    programs: tuple[str, ...]
    ldflags: str = "-s -w"
    rename: dict[str, str] = field(default_factory=dict)


MODULES = (
    Module("etcd", ("etcd",), rename={"server": "etcd"}),
    Module(
        "kubernetes",
        ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
        # Without a version stamp, clients see v0.0.0 and refuse features.
        ldflags=f"-s -w -X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36",
    ),
    Module("versitygw", ("versitygw",)),
    Module("coredns", ("coredns",)),
    Module("helm", ("helm",)),
    Module("traefik", ("traefik",)),  # a controller of the Gateway API, for the tests of weights
)


def tool(program: str) -> Path:
    """The path of a program, built if it must be.

    Raises:
        ClusterError: when it is none of ours, Go is missing or the build fails.
    """
    if found := _on_machine(program):
        return found
    for module in MODULES:
        if program in module.programs:
            return build(module) / program
    raise ClusterError(f"unknown tool {program}; there are: {', '.join(p for m in MODULES for p in m.programs)}")


def build(module: Module) -> Path:
    """Build a module's programs into the cache, or find them there. Returns the directory that holds them."""
    source = REPOSITORY / "hack" / "tools" / module.name
    home = cache() / "tools" / f"{module.name}-{_key(source, module)}"
    if home.is_dir():
        return home
    if not shutil.which("go"):
        raise ClusterError(
            "Go (1.26 or newer) is needed to build the cluster's programs; install it, or name a cluster by USE_EXISTING_CLUSTER=1"
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    with lock(home.with_suffix(".lock"), f"building {module.name}"):
        if not home.is_dir():  # another process may have built it while we waited
            _install(source, module, home)
    return home


def _key(source: Path, module: Module) -> str:
    digest = hashlib.sha256(module.ldflags.encode())
    for name in ("go.mod", "go.sum"):
        digest.update((source / name).read_bytes())
    return digest.hexdigest()[:16]


def _install(source: Path, module: Module, home: Path) -> None:
    log = home.with_suffix(".log")
    with (
        tempfile.TemporaryDirectory(dir=home.parent) as scratch,
        Progress(f"building {module.name} (once, into {home.parent})") as progress,
    ):
        target = Path(scratch) / "bin"
        environment = os.environ | {"GOBIN": str(target), "CGO_ENABLED": "0"}
        command = ["go", "install", "-trimpath", f"-ldflags={module.ldflags}", "tool"]
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(command, cwd=source, env=environment, stdout=output, stderr=output)
            while process.poll() is None:
                progress.tick()
                try:
                    process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    continue
        if process.returncode:
            raise ClusterError(f"building {module.name} failed; the end of {log}:\n{tail(log)}")
        for old, new in module.rename.items():
            (target / old).rename(target / new)
        target.rename(home)


def _on_machine(program: str) -> Path | None:
    """The machine's own kubectl or helm, when its version fits."""
    commands = {"kubectl": ["version", "--client"], "helm": ["version", "--short"]}
    path = shutil.which(program) if program in commands else None
    if path is None:
        return None
    said = subprocess.run([path, *commands[program]], capture_output=True, text=True, timeout=30, check=False).stdout
    found = re.search(r"v(\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    # kubectl promises to understand a server one minor version away, either way.
    fits = (1, 35) <= version <= (1, 37) if program == "kubectl" else version >= (3, 14)
    return Path(path) if fits else None
