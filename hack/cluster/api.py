"""Two questions to an API server, with proper certificates and nothing but the standard library."""

import socket
import ssl
import struct
import urllib.error
import urllib.request
from pathlib import Path


def answers(url: str, pki: Path, path: str = "/readyz") -> bool:
    """Whether the API server answers 200 at `path`. `pki`: the cluster's certificates, only read: asking must not make any."""
    try:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "kubelet-client.crt", pki / "kubelet-client.key")
        # The node's addresses are this machine's own: never through a proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with opener.open(f"{url}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


DEFAULT_SERVICE_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


def resolves(server: str, name: str) -> bool:
    """Whether a DNS server gives an address for a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", 0x5354, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        try:
            client.sendto(query, (server, 53))
            answer = client.recv(512)
        except OSError:
            return False
    flags, _, answers_count = struct.unpack(">HHH", answer[2:8])
    return bool(flags & 0xF == 0 and answers_count > 0)
