"""Address ranges of a node: chosen by the cluster's name, and never over a route that the machine already has. Pure."""

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranges:
    """One /16 cut into the link between machine and node, the pods' range and the services'."""

    block: int  # second octet of 10.x.0.0/16
    host_link: str  # name of the machine's end of the veth pair

    @property
    def host(self) -> str:
        """The machine's address on the link."""
        return f"10.{self.block}.0.1"

    @property
    def node(self) -> str:
        """The node's address on the link."""
        return f"10.{self.block}.0.2"

    @property
    def pods(self) -> str:
        """Range of pod addresses."""
        return f"10.{self.block}.64.0/18"

    @property
    def services(self) -> str:
        """Range of service addresses."""
        return f"10.{self.block}.128.0/18"

    @property
    def first_service(self) -> str:
        """Address of the Service `kubernetes`."""
        return f"10.{self.block}.128.1"


def link_name(name: str) -> str:
    """The machine's end of the link to the node of this name: at most 15 characters, as the kernel wants."""
    return f"sk{_digest(name)[:8]}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def choose(name: str, routes: Iterable[str]) -> Ranges:
    """Ranges for a cluster of this name that overlap none of these routes (CIDRs).

    Raises:
        ValueError: when all of 10.0.0.0/8 is taken.
    """
    taken = [ipaddress.ip_network(route, strict=False) for route in routes]
    first = int(_digest(name)[:4], 16) % 200
    for step in range(200):
        block = 32 + (first + step) % 200
        if not any(ipaddress.ip_network(f"10.{block}.0.0/16").overlaps(network) for network in taken):
            return Ranges(block, link_name(name))
    raise ValueError("no free range in 10.0.0.0/8 for a cluster: remove a route, or name a cluster by USE_EXISTING_CLUSTER=1")
