"""`auto_encrypt`: client agents get their certificates from the servers, and both trust the mesh's authority for them.

A client asks before it joins, over a connection for which it needs no certificate, and renews over the one that it
has. Servers follow the authority's roots, so that a certificate of a new root is believed in time. Nothing is kept on
disk: an agent that starts asks anew.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.config.settings import Config, ConfigError
from agent.leaf import LeafCertificates
from agent.tls import NOTHING, Given, first_context, https_context, manual_roots, rpc_rules
from mesh import certificates
from mesh.spiffe import AgentIdentity
from model.errors import RpcError
from model.structs.connect import CASignRequest, IndexedCARoots, IssuedCert, SignedResponse
from rpc.caller import Caller
from rpc.dialing import Dialer
from rpc.insecure import call_insecure
from server.endpoints.context import SignOffer
from server.server import Server

if TYPE_CHECKING:
    from agent.agent import Agent

log = logging.getLogger("lictor.agent.auto_encrypt")

CALL_TIMEOUT = 10.0
MAX_PAUSE = 30.0
RENEW_AT = 0.6
"""The share of a certificate's life after which it is renewed."""
ROOTS_WAIT = 60.0
FIRST_DOMAIN = "auto-encrypt.consul"
"""The trust domain in a first request: the real one is not known yet."""

Take = Callable[[Given], None]


def addresses_of(config: Config) -> list[str]:
    """The servers to ask: where the agent is to join, at the servers' RPC port."""
    found = []
    for text in (*config.start_join, *config.retry_join):
        if "=" in text:
            continue  # A cloud provider's description, which only gossip's joining understands.
        host = text
        if text.startswith("["):
            host = text[1:].partition("]")[0]
        elif text.count(":") == 1:
            host = text.partition(":")[0]
        found.append(f"[{host}]:{config.ports.server}" if ":" in host else f"{host}:{config.ports.server}")
    return list(dict.fromkeys(found))


class AgentCertificate:
    """The certificate of a client agent; `take` is called with every new one, `token` gives the agent's token."""

    def __init__(
        self,
        config: Config,
        dialer: Dialer,
        take: Take,
        token: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._token = token
        self._dialer = dialer
        self._take = take
        self._clock = clock
        self._manual_roots: list[str] = []
        self._verify = False
        self._issued = IssuedCert()
        self._root = ""

    def _request(self, domain: str) -> tuple[str, str]:
        """A key and a request for a certificate of it."""
        config = self._config
        key = certificates.generate_key()
        identity = AgentIdentity(domain, config.datacenter, config.node_name)
        dns = ("localhost", *config.auto_encrypt.dns_san)
        addresses = ("127.0.0.1", "::1", *config.auto_encrypt.ip_san)
        request = certificates.make_request(key, identity, tuple(dict.fromkeys(dns)), tuple(dict.fromkeys(addresses)))
        return certificates.key_pem(key), request

    async def obtain(self) -> None:
        """Get the first certificate, from whichever server answers first; tried until one does."""
        pause = 1.0
        context = first_context(self._config)
        while True:
            for address in addresses_of(self._config):
                key, request = self._request(FIRST_DOMAIN)
                args = CASignRequest(csr=request, datacenter=self._config.datacenter, token=self._token())
                try:
                    reply = await call_insecure(self._dialer, address, context, "AutoEncrypt.Sign", args, CALL_TIMEOUT)
                except (RpcError, OSError) as error:
                    log.warning("AutoEncrypt.Sign failed: server=%s error=%s", address, error)
                    continue
                assert isinstance(reply, SignedResponse)
                self._manual_roots = reply.manual_ca_roots or []
                self._verify = reply.verify_server_hostname
                self._have(reply.issued_cert, key, reply.connect_ca_roots)
                log.info("automatically received a certificate from server=%s", address)
                return
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, MAX_PAUSE)

    def _have(self, issued: IssuedCert, key: str, roots: IndexedCARoots) -> None:
        self._issued = issued
        self._root = roots.active_root_id
        trusted = "".join([*self._manual_roots, *(root.root_cert for root in roots.roots or ())])
        self._take(Given(issued.cert_pem, key, trusted, self._verify))

    def _seconds_left(self) -> float:
        begin, end = self._issued.valid_after.unix, self._issued.valid_before.unix
        return begin + (end - begin) * RENEW_AT - self._clock()

    async def keep(self, caller: Caller, leafs: LeafCertificates) -> None:
        """Renew for ever: in time, and when the authority has another root."""
        index = 0
        while True:
            try:
                wait = max(1.0, min(ROOTS_WAIT, self._seconds_left()))
                roots = await leafs.roots(min_query_index=index, max_query_time=int(wait * 1e9), allow_stale=True)
                index = roots.index
                if self._seconds_left() <= 0 or roots.active_root_id != self._root:
                    key, request = self._request(roots.trust_domain)
                    args = CASignRequest(csr=request, datacenter=self._config.datacenter)
                    issued = await caller.call("ConnectCA.Sign", args)
                    assert isinstance(issued, IssuedCert)
                    self._have(issued, key, roots)
                    log.info("renewed the agent's certificate")
            except RpcError as error:
                log.warning("cannot renew the agent's certificate: %s", error)
                if self._clock() > self._issued.valid_before.unix:
                    await self.obtain()
                await asyncio.sleep(5.0 * (0.5 + random.random()))


class Encryption:
    """What an agent has been given, and what it gives to others."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self.given = NOTHING

    def take(self, given: Given) -> None:
        """Go on with another certificate, or other authorities."""
        agent = self._agent
        try:
            rules, https = rpc_rules(agent.config, given), https_context(agent.config, given)
        except (ConfigError, ssl.SSLError, OSError) as error:
            log.error("cannot use what the servers gave: %s", error)
            return
        self.given = given
        agent.security.rules = rules
        if hasattr(agent, "http"):
            agent.apply_limits(agent.config, https)

    def offer(self) -> None:
        """Let client agents have certificates, if they may."""
        agent = self._agent
        config = agent.config
        if isinstance(agent.delegate, Server) and config.auto_encrypt.allow_tls:
            agent.delegate.auto_encrypt = SignOffer(manual_roots(config), config.tls.verify_server_hostname)


async def follow_roots(leafs: LeafCertificates, take: Take) -> None:
    """On a server: hand on the authority's roots, now and whenever they change, for ever."""
    index, known = 0, ""
    while True:
        try:
            roots = await leafs.roots(min_query_index=index, max_query_time=int(ROOTS_WAIT * 1e9), allow_stale=True)
        except RpcError:
            await asyncio.sleep(1.0)
            continue
        index = roots.index
        trusted = "".join(root.root_cert for root in roots.roots or ())
        if trusted and trusted != known:
            known = trusted
            take(Given(roots=trusted))
        if not trusted:
            await asyncio.sleep(0.5)
