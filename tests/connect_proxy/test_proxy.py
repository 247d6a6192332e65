"""The data plane on real sockets with real certificates: who gets in, who does not, and what changes meanwhile."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect_proxy import identity
from connect_proxy.balance import RoundRobin
from connect_proxy.listeners import Listeners
from mesh import certificates
from mesh.proxy_state import Endpoint, Leaf, ProxyState, PublicListener, Rule, Upstream, may_connect, versioned
from mesh.spiffe import ServiceIdentity, parse, service_sni

DOMAIN = "11111111-2222-3333-4444-555555555555.consul"


class Authority:
    """A CA of a mesh."""

    def __init__(self) -> None:
        self.key = certificates.generate_key()
        self.root = certificates.make_root(self.key, DOMAIN, 7, time.time(), 3600, "test")
        self.serial = 8

    @property
    def pem(self) -> str:
        return certificates.to_pem(self.root)

    def leaf(self, service: str) -> Leaf:
        key = certificates.generate_key()
        who = ServiceIdentity(DOMAIN, "default", "dc1", service)
        request, identity_ = certificates.load_request(certificates.make_request(key, who))
        self.serial += 1
        issued = certificates.sign_leaf(request, identity_, self.root, self.key, self.serial, time.time(), 3600)
        return Leaf(issued.pem, certificates.key_pem(key), issued.valid_before, who.uri)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def state_of(authority: Authority, service: str, local: int, **changes: object) -> ProxyState:
    base = ProxyState(
        proxy_id=f"{service}-sidecar-proxy",
        service=service,
        datacenter="dc1",
        trust_domain=DOMAIN,
        leaf=authority.leaf(service),
        roots=[authority.pem],
        public=PublicListener("127.0.0.1", 0, "127.0.0.1", local),
        rules=[],
        default_allow=True,
        upstreams=[],
    )
    return versioned(msgspec.structs.replace(base, **changes))


class Mesh:
    """An echo service `web` and a caller `api`, each with its proxy."""

    def __init__(self) -> None:
        self.authority = Authority()

    async def start(self) -> None:
        self.service = await asyncio.start_server(echo, "127.0.0.1", 0)
        self.web_state = state_of(self.authority, "web", self.service.sockets[0].getsockname()[1])
        self.web = Listeners(self.web_state)
        await self.web.apply(self.web_state)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.upstream_port = probe.getsockname()[1]
        upstream = Upstream(
            name="web",
            bind_address="127.0.0.1",
            bind_port=self.upstream_port,
            sni=service_sni("web", "dc1", DOMAIN),
            identities=[ServiceIdentity(DOMAIN, "default", "dc1", "web").uri],
            endpoints=[Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", self.web.public_port)],
        )
        self.api_state = state_of(self.authority, "api", 1, public=None, upstreams=[upstream])
        self.api = Listeners(self.api_state)
        await self.api.apply(self.api_state)

    async def call(self, data: bytes = b"hello") -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        try:
            writer.write(data)
            async with asyncio.timeout(60):
                return await reader.readexactly(len(data))
        except (asyncio.IncompleteReadError, OSError):
            return b""
        finally:
            writer.close()

    async def change_web(self, **changes: object) -> None:
        self.web_state = versioned(msgspec.structs.replace(self.web_state, **changes))
        await self.web.apply(self.web_state)

    async def stop(self) -> None:
        await self.api.close(0.1)
        await self.web.close(0.1)
        self.service.close()


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    running = Mesh()
    await running.start()
    yield running
    await running.stop()


async def test_traffic_flows_and_a_dead_endpoint_is_passed_over(mesh: Mesh) -> None:
    assert await mesh.call() == b"hello"
    big = bytes(range(256)) * 40_000
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.upstream_port)
    sending = asyncio.create_task(asyncio.to_thread(lambda: None))
    await sending
    writer.write(big)
    async with asyncio.timeout(60):
        assert await reader.readexactly(len(big)) == big
    writer.close()
    assert mesh.web.world.counters["accepted"] >= 2


async def test_intentions_decide_about_each_new_connection(mesh: Mesh) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.upstream_port)
    writer.write(b"open")
    assert await reader.readexactly(4) == b"open"
    await mesh.change_web(rules=[Rule("api", False)])
    assert await mesh.call() == b""
    assert mesh.web.world.counters["denied"] == 1
    writer.write(b"goes on")
    assert await reader.readexactly(7) == b"goes on"  # What was open before stays open.
    writer.close()
    await mesh.change_web(rules=[Rule("*", False), Rule("api", True)])
    assert await mesh.call() == b""
    await mesh.change_web(rules=[Rule("api", True), Rule("*", False)])
    assert await mesh.call() == b"hello"


async def test_a_renewed_identity_drops_nothing(mesh: Mesh) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.upstream_port)
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    port = mesh.web.public_port
    await mesh.change_web(leaf=mesh.authority.leaf("web"))
    assert mesh.web.public_port == port
    assert await mesh.call() == b"hello"
    writer.write(b"b")
    assert await reader.readexactly(1) == b"b"
    writer.close()


async def _tls_call(port: int, context: ssl.SSLContext) -> bytes:
    try:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="x")
            writer.write(b"hi")
            answer = await reader.read(2)
            writer.close()
            return answer
    except (OSError, ssl.SSLError):
        return b""


async def test_strangers_do_not_get_in(mesh: Mesh) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)
    port = mesh.web.public_port
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    assert await _tls_call(port, bare) == b""
    foreign = Authority()
    stranger = identity.client_context(foreign.leaf("api"), [mesh.authority.pem])
    assert await _tls_call(port, stranger) == b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    with contextlib.suppress(OSError):
        assert b"hi" not in await asyncio.wait_for(reader.read(), 60)
    writer.close()
    friend = identity.client_context(mesh.authority.leaf("other"), [mesh.authority.pem])
    assert await _tls_call(port, friend) == b"hi"


async def test_another_service_behind_the_address_is_not_talked_to(mesh: Mesh) -> None:
    await mesh.change_web(leaf=mesh.authority.leaf("impostor"))
    assert await mesh.call() == b""
    assert mesh.api.world.counters["wrong_identity"] == 1


def test_the_first_matching_rule_decides() -> None:
    authority = Authority()
    state = state_of(authority, "web", 1, rules=[Rule("api", True), Rule("*", False)])
    assert may_connect(state, "api") and not may_connect(state, "db")
    assert may_connect(msgspec.structs.replace(state, rules=[]), "db")


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_endpoints_get_their_share(weights: list[int]) -> None:
    endpoints = [Endpoint(f"10.0.0.{number}", 80, weight) for number, weight in enumerate(weights)]
    balance = RoundRobin()
    picks = [balance.order(endpoints, 0.0)[0] for _ in range(sum(weights) * 3)]
    assert [picks.count(endpoint) for endpoint in endpoints] == [weight * 3 for weight in weights]
    balance.failed(endpoints[0], 0.0)
    assert len(endpoints) == 1 or balance.order(endpoints, 1.0)[0] != endpoints[0]


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()))
def test_identities_read_back(service: str) -> None:
    who = ServiceIdentity(DOMAIN, "default", "dc1", service)
    assert parse(who.uri) == who
