"""Leader election by a Lease (client-go's rules). A lost Lease ends the process: two must never work."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from stationkeeper.control.kube.errors import ApiError, ConflictError
from stationkeeper.control.kube.gateway import Gateway
from stationkeeper.control.kube.kinds import LEASE

logger = logging.getLogger(__name__)
NAME = "stationkeeper-operator"  # where nobody gives another: two operators for other namespaces need two


class LeaseLostError(Exception):
    """Another process leads, or the Lease could not be renewed in time."""


class Leader:
    """Holds a Lease of a namespace."""

    def __init__(
        self,
        gateway: Gateway,
        namespace: str,
        identity: str,
        duration: float = 15.0,
        renew: float = 10.0,
        retry: float = 2.0,
        name: str = NAME,
    ) -> None:
        self._gateway, self._namespace, self._identity, self._name = gateway, namespace, identity, name
        self._duration, self._renew, self._retry = duration, renew, retry  # seconds
        self._seen: tuple[str, float] = ("", 0.0)  # the Lease's version, and when we first saw it
        self._lease: dict[str, Any] | None = None
        self._renewed = 0.0  # when the last write that the API server took was sent

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def acquire(self) -> None:
        """Wait until this process leads."""
        told = ""
        while True:
            try:
                holder = await self._try()
            except ConflictError:
                holder = "somebody else"
            except ApiError as error:
                holder = f"nobody knows ({error})"
            if holder == self._identity:
                logger.info("leading as %s", self._identity)
                return
            if holder != told:
                logger.info("standing by; the leader is %s", holder)
                told = holder
            await asyncio.sleep(self._retry)

    async def hold(self) -> None:
        """Renew the Lease for ever.

        Raises:
            LeaseLostError: when it was lost.
        """
        while True:
            await asyncio.sleep(self._retry)
            deadline = self._renewed + self._renew
            try:
                # A request that hangs must not outlast the Lease, at whose end the other one starts to work; and there is to be
                # time for a second try, on another connection.
                async with asyncio.timeout(min(deadline - self._now(), self._renew / 2)):
                    holder = await self._try()
            except (ApiError, TimeoutError) as error:
                if self._now() >= deadline:
                    raise LeaseLostError(f"the Lease could not be renewed for {self._renew:.0f} s") from error
                logger.warning("the Lease could not be renewed: %s", str(error) or "no answer in time")
                continue
            if holder != self._identity:
                raise LeaseLostError(f"the Lease is {holder}'s now")

    async def release(self) -> None:
        """Give the Lease back, so that the next leader need not wait."""
        if self._lease is None:
            return
        spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._gateway.replace({**self._lease, "spec": spec})
        except ApiError as error:
            logger.warning("the Lease could not be released: %s", error)

    async def _try(self) -> str:
        """Take or renew the Lease if that may be. Returns who holds it.

        Raises:
            ConflictError: when somebody wrote to it meanwhile; perhaps we, by a request whose answer was lost.
        """
        lease = await self._gateway.get(LEASE, self._namespace, self._name)
        if lease is None:
            return await self._write(None, transitions=0)
        spec = lease.get("spec") or {}
        holder, version = spec.get("holderIdentity") or "", lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, self._now())
        # The other's clock is not trusted: its Lease has run out when we have seen no renewal for its duration.
        expired = self._now() - self._seen[1] > float(spec.get("leaseDurationSeconds") or self._duration)
        if holder and holder != self._identity and not expired:
            return str(holder)
        transitions = int(spec.get("leaseTransitions") or 0) + (holder != self._identity)
        return await self._write(lease, transitions)

    async def _write(self, lease: dict[str, Any] | None, transitions: int) -> str:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        acquired = (lease or {}).get("spec", {}).get("acquireTime") if self._lease else None
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._duration),
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        meta = {"name": self._name, "namespace": self._namespace}
        body = {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": meta, "spec": spec}
        sent = self._now()
        if lease is None:
            self._lease = await self._gateway.create(body)
        else:
            meta["resourceVersion"] = lease["metadata"]["resourceVersion"]
            self._lease = await self._gateway.replace(body)
        self._renewed = sent
        return self._identity
