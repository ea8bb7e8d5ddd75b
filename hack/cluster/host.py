"""What is done to this machine outside the cache, each thing said in one line before it is done."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hack.cluster.network import Ranges
from hack.cluster.say import ClusterError, say

# Debian package by the program that shows it is there.
_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "ip": "iproute2",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
_CGROUPS = Path("/sys/fs/cgroup")
_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
MOUNT_POINTS = (Path("/var/lib/cni"), Path("/var/lib/kubelet"))


def run(*command: str, check: bool = True) -> str:
    """Run a program and return what it printed.

    Raises:
        ClusterError: when it fails and `check` is set.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise ClusterError(f"{' '.join(command)} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout


def install_packages() -> None:
    """Install what the node needs and the machine lacks."""
    missing = [package for program, package in _PACKAGES.items() if not (shutil.which(program) or Path(program).exists())]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(
            f"these programs are needed: {', '.join(missing)}; install them, or name a cluster by USE_EXISTING_CLUSTER=1"
        )
    say(f"machine: apt-get update, then apt-get install {' '.join(missing)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()[-800:]}")


def routes() -> list[str]:
    """Every range that the machine has a route to, the default left out."""
    return [line.split()[0] for line in run("ip", "-4", "route", "show", "table", "main").splitlines() if line[:1].isdigit()]


def load_bridge_module() -> None:
    """Have the kernel filter bridged packets, or Services do not work between pods of one node."""
    if _BRIDGE_FILTER.exists():
        return
    say("machine: loading the kernel module br_netfilter")
    run("modprobe", "br_netfilter", check=False)
    if not _BRIDGE_FILTER.exists():
        raise ClusterError("this kernel has no br_netfilter; name a cluster by USE_EXISTING_CLUSTER=1 instead")


def make_mount_points() -> None:
    """Empty directories that the node mounts its own over; its programs have these places compiled in."""
    missing = [place for place in MOUNT_POINTS if not place.is_dir()]
    if missing:
        say(f"machine: empty directories {' and '.join(map(str, missing))}, for the node to mount its own over")
    for place in missing:
        place.mkdir(parents=True)


def connect(ranges: Ranges, pid: int) -> None:
    """One veth pair into the node's network namespace, and routes to its ranges through it."""
    link = ranges.host_link
    say(f"machine: link {link} to the node ({ranges.host} - {ranges.node}), routes to {ranges.pods} and {ranges.services}")
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    run("ip", "address", "add", f"{ranges.host}/24", "dev", link)
    run("ip", "link", "set", link, "up")
    for cidr in (ranges.pods, ranges.services):
        run("ip", "route", "replace", cidr, "via", ranges.node, "dev", link)


def connected(link: str) -> bool:
    """Whether there is a link of this name."""
    return Path("/sys/class/net", link).exists()


def disconnect(link: str) -> None:
    """Remove the link, and its routes with it. It also goes by itself, a little after the node's namespace ended."""
    if connected(link):
        run("ip", "link", "delete", link, check=False)


def make_cgroups(name: str) -> None:
    """The parent cgroup of the node's pods, in every hierarchy."""
    say(f"machine: cgroup {name} below {_CGROUPS}")
    for hierarchy in _hierarchies():
        group = hierarchy / name.strip("/")
        _hand_down(hierarchy)
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # the first version starts them empty, and then nothing may join
            own, parent = group / setting, hierarchy / setting
            if own.exists() and parent.exists() and not own.read_text(encoding="utf-8").strip():
                own.write_text(parent.read_text(encoding="utf-8"), encoding="utf-8")


def _hand_down(hierarchy: Path) -> None:
    """The second version hands a controller to child cgroups only when told so; systemd mostly did that already."""
    controllers, handed = hierarchy / "cgroup.controllers", hierarchy / "cgroup.subtree_control"
    if hierarchy != _CGROUPS or not controllers.exists():
        return  # the first version, or the second beside it, which then holds no controller that a node needs
    missing = set(controllers.read_text(encoding="utf-8").split()) - set(handed.read_text(encoding="utf-8").split())
    for controller in sorted(missing & {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}):
        say(f"machine: cgroup controller {controller} for child cgroups of {hierarchy}")
        try:
            handed.write_text(f"+{controller}", encoding="utf-8")
        except OSError as error:
            say(f"machine: that was refused ({error.strerror}); the kubelet says whether it can do without")


def remove_cgroups(name: str) -> list[Path]:
    """Remove the empty cgroups of the node, deepest first. Returns what would not go."""
    left = []
    for hierarchy in _hierarchies():
        top = hierarchy / name.strip("/")
        groups = [top, *(path for path in top.rglob("*") if path.is_dir())] if top.is_dir() else []
        for group in sorted(groups, key=lambda path: len(path.parts), reverse=True):
            try:
                group.rmdir()
            except OSError:
                left.append(group)
    return left


def _hierarchies() -> Sequence[Path]:
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [path for path in sorted(_CGROUPS.iterdir()) if path.is_dir() and not path.is_symlink()] if _CGROUPS.is_dir() else []
