"""Leaf certificates for the services of this agent: made here, signed by the servers, renewed in time."""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from mesh import certificates
from mesh.spiffe import ServiceIdentity
from model.errors import RpcError
from model.structs.catalog_rpc import DCSpecificRequest
from model.structs.connect import CASignRequest, IndexedCARoots, IssuedCert
from rpc.caller import Caller

log = logging.getLogger("lictor.agent.leaf")

MAX_HELD = 4096
"""Certificates that are kept; anybody may ask for one under any name, and then the one that was made first goes."""
RENEW_AT = 0.6
"""The share of a certificate's life after which it is renewed."""


class LeafCertificates:
    """Certificates by service name. Keys live in memory only."""

    def __init__(self, caller: Caller, datacenter: str, clock: Callable[[], float] = time.time) -> None:
        self._caller = caller
        self._datacenter = datacenter
        self._clock = clock
        self._held: dict[str, tuple[IssuedCert, str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def roots(self, **options: object) -> IndexedCARoots:
        """The CA's roots."""
        reply = await self._caller.call("ConnectCA.Roots", DCSpecificRequest(datacenter=self._datacenter, **options))  # type: ignore[arg-type]
        assert isinstance(reply, IndexedCARoots)
        return reply

    def _usable(self, service: str, active_root: str) -> IssuedCert | None:
        held = self._held.get(service)
        if held is None or held[1] != active_root:
            return None
        certificate = held[0]
        life = certificate.valid_before.unix - certificate.valid_after.unix
        if self._clock() > certificate.valid_after.unix + life * RENEW_AT:
            return None
        return certificate

    async def get(self, service: str, roots: IndexedCARoots | None = None, token: str = "") -> IssuedCert:
        """A certificate with its key; a new one when the old is old or the root has changed. Raises RpcError.

        Whether the bearer of `token` may have it is asked of the servers only when a new one is made.
        """
        roots = roots or await self.roots()
        lock = self._locks.setdefault(service, asyncio.Lock())
        try:
            async with lock:
                return self._usable(service, roots.active_root_id) or await self._make(service, roots, token)
        finally:
            if service not in self._held and not lock.locked():
                self._locks.pop(service, None)

    async def _make(self, service: str, roots: IndexedCARoots, token: str) -> IssuedCert:
        if not roots.trust_domain:
            raise RpcError("cluster has no CA bootstrapped yet")
        key = certificates.generate_key()
        identity = ServiceIdentity(roots.trust_domain, "default", self._datacenter, service)
        request = certificates.make_request(key, identity)
        args = CASignRequest(csr=request, datacenter=self._datacenter, token=token)
        issued = await self._caller.call("ConnectCA.Sign", args)
        assert isinstance(issued, IssuedCert)
        complete = msgspec.structs.replace(issued, private_key_pem=certificates.key_pem(key))
        while len(self._held) >= MAX_HELD and service not in self._held:
            oldest = next(iter(self._held))
            del self._held[oldest]
            self._locks.pop(oldest, None)
        self._held[service] = (complete, roots.active_root_id)
        return complete

    def held(self, service: str) -> IssuedCert | None:
        """The certificate that is at hand, whether or not it may still be used."""
        held = self._held.get(service)
        return held[0] if held is not None else None

    def seconds_until_renewal(self, certificate: IssuedCert) -> float:
        """How long a certificate may still be used."""
        life = certificate.valid_before.unix - certificate.valid_after.unix
        return max(0.0, certificate.valid_after.unix + life * RENEW_AT - self._clock())
