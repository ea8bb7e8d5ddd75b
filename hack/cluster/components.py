"""The programs of a control plane and their flags. Pure: paths and addresses in, command lines out."""

from dataclasses import dataclass
from pathlib import Path

from hack.cluster.pki import Authority, Leaf

DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Addresses:
    """Where the control plane listens."""

    api_host: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    services: str  # CIDR
    first_service: str  # address of the Service `kubernetes`

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://{self.api_host}:{self.api_port}"


@dataclass(frozen=True)
class Credentials:
    """Certificates that the control plane needs."""

    authority: Authority
    api: Leaf
    etcd: Leaf
    kubelet_client: Leaf
    service_accounts: Path

    @classmethod
    def create(cls, directory: Path, addresses: Addresses) -> "Credentials":
        """Make them, or load those that are there."""
        authority = Authority(directory)
        services = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"]
        hosts = [addresses.api_host, "127.0.0.1", "localhost", addresses.first_service, *services]
        return cls(
            authority=authority,
            api=authority.leaf("kube-apiserver", "kube-apiserver", hosts=hosts),
            etcd=authority.leaf("etcd", "etcd", hosts=["127.0.0.1", "localhost"]),
            kubelet_client=authority.leaf("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"]),
            service_accounts=authority.service_account_key(),
        )


def etcd(data: Path, addresses: Addresses, credentials: Credentials) -> list[str]:
    """Flags of etcd. Durability is given up for speed: this cluster is thrown away."""
    client = f"https://127.0.0.1:{addresses.etcd_port}"
    peer = f"http://127.0.0.1:{addresses.etcd_peer_port}"
    return [
        f"--data-dir={data}",
        "--name=local",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=local={peer}",
        f"--cert-file={credentials.etcd.certificate}",
        f"--key-file={credentials.etcd.key}",
        f"--trusted-ca-file={credentials.authority.certificate}",
        "--client-cert-auth",
    ]


def kube_apiserver(addresses: Addresses, credentials: Credentials) -> list[str]:
    """Flags of kube-apiserver."""
    # A loopback address may not stand in the endpoints of the Service `kubernetes`; nobody could use them there either.
    endpoints = "none" if addresses.api_host == "127.0.0.1" else "lease"
    return [
        f"--etcd-servers=https://127.0.0.1:{addresses.etcd_port}",
        f"--etcd-cafile={credentials.authority.certificate}",
        f"--etcd-certfile={credentials.etcd.certificate}",
        f"--etcd-keyfile={credentials.etcd.key}",
        f"--bind-address={addresses.api_host}",
        f"--advertise-address={addresses.api_host}",
        f"--secure-port={addresses.api_port}",
        f"--endpoint-reconciler-type={endpoints}",
        f"--tls-cert-file={credentials.api.certificate}",
        f"--tls-private-key-file={credentials.api.key}",
        f"--client-ca-file={credentials.authority.certificate}",
        f"--service-account-key-file={credentials.service_accounts}",
        f"--service-account-signing-key-file={credentials.service_accounts}",
        f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
        f"--service-cluster-ip-range={addresses.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={credentials.kubelet_client.certificate}",
        f"--kubelet-client-key={credentials.kubelet_client.key}",
        f"--kubelet-certificate-authority={credentials.authority.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged=true",
        "--profiling=false",
        "--shutdown-delay-duration=0s",
    ]


def kube_controller_manager(kubeconfig: Path, credentials: Credentials, plugins: Path) -> list[str]:
    """Flags of kube-controller-manager: garbage collection, Jobs, CronJobs and Deployments are real."""
    return [
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--controllers=*,-node-ipam-controller",
        f"--flex-volume-plugin-dir={plugins}",  # else it makes one below /usr/libexec
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={credentials.service_accounts}",
        f"--root-ca-file={credentials.authority.certificate}",
        f"--cluster-signing-cert-file={credentials.authority.certificate}",
        f"--cluster-signing-key-file={credentials.authority.key}",
        "--profiling=false",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def kube_scheduler(kubeconfig: Path) -> list[str]:
    """Flags of kube-scheduler."""
    return [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0", "--profiling=false"]
