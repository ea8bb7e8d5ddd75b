"""Configuration files of a node's programs. Pure: values in, text out. Why each odd setting is there stands beside it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hack.cluster.components import DOMAIN
from hack.cluster.network import Ranges

# What the kubelet sets for the whole machine where it finds another value.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
PAUSE_IMAGE = "localhost/stationkeeper/pause:1"


@dataclass(frozen=True)
class Node:
    """Names and places of a node."""

    name: str
    directory: Path
    ranges: Ranges

    @property
    def containerd_socket(self) -> str:
        """containerd's socket, below the node's own /run."""
        return "/run/containerd/containerd.sock"

    @property
    def cgroup(self) -> str:
        """Parent of all pods' cgroups: the node's own, so that it can be removed and clusters can stand side by side."""
        return f"/stationkeeper-{self.name}"

    @property
    def registries(self) -> Path:
        """How containerd reaches image registries: `HOST/hosts.toml`, read at each pull. Empty unless somebody writes one."""
        return self.directory / "registries"


def containerd(node: Node) -> str:
    """containerd's configuration (version 2, for containerd 1.6 and 1.7)."""
    return f'''version = 2
root = "{node.directory}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]

[grpc]
  address = "{node.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE (a container's root) no process may lower its oom score, and every sandbox would fail.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{node.directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{node.registries}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
'''


def cni(node: Node) -> str:
    """The pods' network: a bridge with addresses of the pods' range, and host ports."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,  # a pod may reach itself through its Service
        "ipam": {
            "type": "host-local",
            "dataDir": f"{node.directory}/cni-addresses",
            "ranges": [[{"subnet": node.ranges.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return json.dumps({"cniVersion": "0.4.0", "name": "stationkeeper", "plugins": plugins}, indent=2)


def kubelet(node: Node, authority: Path, certificate: Path, key: Path) -> str:
    """The kubelet's configuration."""
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "address": node.ranges.node,
        "healthzBindAddress": "127.0.0.1",
        "clusterDomain": DOMAIN,
        "clusterDNS": [node.ranges.node],
        "resolvConf": f"{node.directory}/resolv.conf",  # the machine's own may name servers that pods cannot reach
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": node.cgroup,
        "failCgroupV1": False,  # many machines still mount the first version
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "podLogsDir": f"{node.directory}/pod-logs",
        "volumePluginDir": f"{node.directory}/volume-plugins",
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,  # images are loaded by hand and cannot be pulled again
        "imageGCLowThresholdPercent": 99,
        "containerLogMaxSize": "5Mi",
        "maxPods": 110,
        "registerNode": True,
    }
    return yaml.safe_dump(config, sort_keys=False)


def kube_proxy(node: Node, kubeconfig: Path) -> str:
    """kube-proxy's configuration."""
    config: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": node.ranges.pods,
        "hostnameOverride": node.name,
        "bindAddress": node.ranges.node,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        # Zero: leave the machine's connection tracking as it is.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "200ms", "syncPeriod": "30s"},
    }
    return yaml.safe_dump(config, sort_keys=False)


def corefile(node: Node, kubeconfig: Path) -> str:
    """CoreDNS outside a pod, on the node's own address."""
    return f"""{DOMAIN} in-addr.arpa {{
    bind {node.ranges.node}
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
    cache 5
    errors
}}
. {{
    bind {node.ranges.node}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
    ready 127.0.0.1:8181
    errors
}}
"""


COREDNS_ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:coredns"}]
"""
