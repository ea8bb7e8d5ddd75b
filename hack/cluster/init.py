"""The first process of a node: it lives in the node's own namespaces, starts everything, and everything dies with it.

Started by `node.up` through `unshare`; not meant to be called by hand.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hack.cluster import components, nodeconfig
from hack.cluster.api import answers
from hack.cluster.components import Addresses, Credentials
from hack.cluster.host import MOUNT_POINTS, run
from hack.cluster.network import Ranges
from hack.cluster.nodeconfig import Node
from hack.cluster.process import Component
from hack.cluster.say import ClusterError, say, wait
from hack.cluster.tools import tool

ETCD_PORT, ETCD_PEER_PORT, API_PORT = 2379, 2380, 6443


def addresses(ranges: Ranges) -> Addresses:
    """Where the control plane of a node listens."""
    return Addresses(ranges.node, API_PORT, ETCD_PORT, ETCD_PEER_PORT, ranges.services, ranges.first_service)


class Init:
    """Brings the node up, then starts again what ends and reaps what is orphaned, until it is killed."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.logs = node.directory / "logs"
        self.addresses = addresses(node.ranges)
        self.credentials = Credentials.create(node.directory / "pki", self.addresses)
        self.running: list[Component] = []
        self.restarts: dict[str, int] = {}

    def main(self) -> int:
        """Start everything; stay."""
        try:
            self._mounts()
            self._network()
            self._control_plane()
            self._runtime()
            self._node_agents()
        except (ClusterError, OSError, subprocess.SubprocessError) as error:
            self._report(failed=str(error))
            say(f"node: {error}")
            return 1
        self._report()
        while True:
            ended = self._reap()
            if ended:
                self._report(down=[component.name for component in ended])
                time.sleep(2)  # what ends at once again must not take the machine's time
                self._restart(ended)
                self._report()
            time.sleep(0.5)

    def _report(self, *, failed: str = "", down: Sequence[str] = ()) -> None:
        """Tell those outside, who see neither our processes nor our children."""
        names = [component.name for component in self.running]
        report = {"failed": failed, "running": [name for name in names if name not in down], "restarts": self.restarts}
        partial = self.node.directory / "init.json.partial"
        partial.write_text(json.dumps(report), encoding="utf-8")
        partial.rename(self.node.directory / "init.json")

    def _reap(self) -> list[Component]:
        """Collect orphans (containers' shims). Returns the components that ended."""
        by_pid = {component.process.pid: component for component in self.running}
        ended: list[Component] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            if component := by_pid.get(pid):
                component.process.returncode = os.waitstatus_to_exitcode(status)
                ended.append(component)

    def _restart(self, ended: list[Component]) -> None:
        for component in ended:
            say(f"node: {component.name} ended with exit code {component.process.returncode}; starting it again")
            self.restarts[component.name] = self.restarts.get(component.name, 0) + 1
            component.restart()

    def _mounts(self) -> None:
        """Places of the node's own: nothing of them is left when the namespace ends."""
        run("mount", "--make-rshared", "/")
        for path in ("/run", "/var/log", *map(str, MOUNT_POINTS)):
            run("mount", "-t", "tmpfs", "tmpfs", path)
        Path("/run/lock").mkdir(exist_ok=True)
        for setting, value in nodeconfig.KERNEL_SETTINGS.items():
            self._pretend(setting, value)

    def _pretend(self, setting: str, value: str) -> None:
        """Show the kubelet the kernel setting that it wants: it would else change the machine's."""
        real = Path("/proc/sys") / setting
        if real.exists() and real.read_text(encoding="utf-8").strip() != value:
            shown = Path("/run/kernel-settings") / setting
            shown.parent.mkdir(parents=True, exist_ok=True)
            shown.write_text(f"{value}\n", encoding="utf-8")
            run("mount", "--bind", str(shown), str(real))

    def _network(self) -> None:
        socket.sethostname(self.node.name)
        wait("node: waiting for its link", lambda: Path("/proc/net/dev").read_text(encoding="utf-8").count("eth0") > 0, 30)
        run("ip", "link", "set", "lo", "up")
        run("ip", "address", "add", f"{self.node.ranges.node}/24", "dev", "eth0")
        run("ip", "link", "set", "eth0", "up")
        run("ip", "route", "add", "default", "via", self.node.ranges.host)
        for key, value in {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}.items():
            setting = Path("/proc/sys") / key
            if setting.exists():
                setting.write_text(value, encoding="utf-8")

    def _start(self, name: str, program: Path, flags: list[str]) -> Component:
        component = Component.start(name, program, flags, self.logs)
        self.running.append(component)
        return component

    def _config(self, file: str, text: str) -> Path:
        path = self.node.directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def _kubeconfig(self, component: str, user: str, groups: tuple[str, ...] = ()) -> Path:
        path = self.node.directory / f"{component}.kubeconfig"
        return self.credentials.authority.kubeconfig(path, self.addresses.url, user, groups)

    def _check(self) -> None:
        for component in self.running:
            component.check()

    def _control_plane(self) -> None:
        credentials, pki = self.credentials, self.credentials.authority.directory
        self._start("etcd", tool("etcd"), components.etcd(self.node.directory / "etcd", self.addresses, credentials))
        self._start("kube-apiserver", tool("kube-apiserver"), components.kube_apiserver(self.addresses, credentials))
        wait("node: waiting for kube-apiserver", lambda: answers(self.addresses.url, pki), 180, check=self._check)
        manager = self._kubeconfig("kube-controller-manager", "system:kube-controller-manager")
        flags = components.kube_controller_manager(manager, credentials, self.node.directory / "volume-plugins")
        self._start("kube-controller-manager", tool("kube-controller-manager"), flags)
        scheduler = self._kubeconfig("kube-scheduler", "system:kube-scheduler")
        self._start("kube-scheduler", tool("kube-scheduler"), components.kube_scheduler(scheduler))

    def _runtime(self) -> None:
        self._config("cni/10-stationkeeper.conflist", nodeconfig.cni(self.node))
        config = self._config("containerd.toml", nodeconfig.containerd(self.node))
        self._start("containerd", Path(shutil.which("containerd") or "/usr/bin/containerd"), [f"--config={config}"])
        wait("node: waiting for containerd", lambda: _serves(self.node.containerd_socket), 60, check=self._check)
        run("ctr", "-a", self.node.containerd_socket, "-n", "k8s.io", "images", "import", str(self.node.directory / "pause.tar"))

    def _node_agents(self) -> None:
        node, authority = self.node, self.credentials.authority
        serving = authority.leaf(
            "kubelet", f"system:node:{node.name}", ["system:nodes"], [node.name, node.ranges.node, "127.0.0.1"]
        )
        kubeconfig = self._kubeconfig("kubelet", f"system:node:{node.name}", ("system:nodes",))
        config = self._config("kubelet.yaml", nodeconfig.kubelet(node, authority.certificate, serving.certificate, serving.key))
        self._config("resolv.conf", f"nameserver {node.ranges.node}\n")
        flags = [
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--root-dir={node.directory}/kubelet",
            f"--hostname-override={node.name}",
            f"--node-ip={node.ranges.node}",
        ]
        self._start("kubelet", tool("kubelet"), flags)
        kubeconfig = self._kubeconfig("kube-proxy", "system:kube-proxy")
        config = self._config("kube-proxy.yaml", nodeconfig.kube_proxy(node, kubeconfig))
        self._start("kube-proxy", tool("kube-proxy"), [f"--config={config}"])
        kubeconfig = self._kubeconfig("coredns", "system:coredns")
        config = self._config("Corefile", nodeconfig.corefile(node, kubeconfig))
        self._start("coredns", tool("coredns"), ["-conf", str(config)])


def _serves(socket: str) -> bool:
    return subprocess.run(["ctr", "-a", socket, "version"], capture_output=True, check=False).returncode == 0


def main() -> None:
    """Entry point inside the namespaces."""
    parser = argparse.ArgumentParser(description="First process of a node (started by `up`).")
    for name in ("name", "directory", "link"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--block", type=int, required=True)
    args = parser.parse_args()
    node = Node(args.name, Path(args.directory), Ranges(args.block, args.link))
    sys.exit(Init(node).main())


if __name__ == "__main__":
    main()
