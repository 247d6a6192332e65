"""Kept answers: never other than fresh ones, whatever is written; and blocking reads that wait on them."""

import asyncio
import gzip
import io
import itertools
import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from agent.config.settings import AclConfig, Config
from agent.http import kept as kept_module
from agent.http.front import Incoming
from agent.http.kept import KeptAnswers, Responder
from agent.http.server import HttpServer
from agent.tokens import AgentTokens
from model.acl.topics import WHO_MAY
from model.codec import pack_builtins, to_wire
from model.commands import CommandType
from model.errors import RpcError
from model.metrics import METRICS
from model.structs.catalog import ConnectProxyConfig, HealthCheck, NodeService, ServiceConnect
from model.structs.config_entries import ServiceConfigEntry
from model.structs.coordinate import Coordinate, CoordinateVector
from model.structs.kv import DirEntry
from model.structs.session import Session
from server.endpoints.query import QUERIES
from tests.endpoints.fake import FakeServer


class Line:
    """The connection of a client that has received `answers`."""

    def __init__(self) -> None:
        self.task: Any = None
        self.answers: list[bytes] = []

    def deliver(self, opening: bytes, rest: bytes) -> None:
        start, _, _ = opening.partition(b"\r\n")
        self.answers.append(start + b"\r\n" + rest)

    def go_on(self) -> None:
        assert self.task is None


class Delegate:
    """The face of a server that handlers see, around the fake one."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server

    async def call(self, method: str, args: Any) -> Any:
        from server.endpoints.dispatch import dispatch

        return await dispatch(self.server, method, args)


class World:
    """A server of one with an HTTP server over it that opens no port."""

    def __init__(self, max_kept: int = kept_module.MAX_KEPT) -> None:
        self.server = FakeServer()
        self.agent: Any = SimpleNamespace(
            config=Config("node1"), delegate=Delegate(self.server), tokens=AgentTokens(AclConfig(), None)
        )
        self.http = HttpServer(self.agent)
        responder = Responder(self.http.prepare, self.http.refusal, self.http.finished)
        self.kept = KeptAnswers(self.agent, self.server, responder, max_kept)

    def head(self, target: str, headers: dict[str, str] | None = None) -> bytes:
        lines = [f"GET {target} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def ask(self, target: str, headers: dict[str, str] | None = None) -> Line | None:
        """Ask until the head is known; None when the answer is not one that is kept."""
        line, head = Line(), self.head(target, headers)
        return line if self.kept.take(line, head) or self.kept.take(line, head) else None

    async def fresh(self, target: str, headers: dict[str, str] | None = None) -> bytes:
        """The same answer, made by the handlers."""
        incoming = Incoming("GET", target, CIMultiDict({"Host": "x", **(headers or {})}), "", kept_module._no_body)
        answer, all_headers, compressed = await self.http.respond(incoming)
        line = Line()
        rest = kept_module._rest(answer.status, all_headers, answer.body, compressed)
        line.deliver(kept_module.opening(answer.status), rest)
        return line.answers[0]


NAMES = ("a", "a/b", "a/c", "b", "c")
NODES = ("n1", "N2", "n3")
SERVICES = ("web", "Api", "db")
TARGETS = (
    *(f"/v1/kv/{name}{query}" for name in NAMES for query in ("", "?recurse", "?keys", "?keys&separator=/", "?raw")),
    "/v1/kv/?recurse",
    "/v1/kv/?keys",
    "/v1/kv/a?stale&pretty",
    *("/v1/catalog/nodes", "/v1/catalog/nodes?near=n1", "/v1/catalog/nodes?node-meta=rack:1"),
    *("/v1/catalog/nodes?filter=Meta.rack==1", "/v1/catalog/services", "/v1/catalog/services?node-meta=rack:1"),
    '/v1/catalog/services?filter=ServiceTags%20contains%20"x"',
    *(f"/v1/catalog/node/{name}" for name in (*NODES, "11111111-1111-1111-1111-111111111111")),
    *(f"/v1/catalog/node-services/{name}?merge-central-config" for name in NODES),
    *(f"/v1/health/node/{name}" for name in NODES),
    *("/v1/health/state/any", "/v1/health/state/passing", "/v1/health/state/any?node-meta=rack:1"),
    *(
        f"/v1/{kind}/{name}{query}"
        for name in SERVICES
        for kind in ("catalog/service", "catalog/connect", "health/service", "health/connect", "health/ingress")
        for query in ("", "?tag=x", "?near=n1", "?node-meta=rack:1", "?merge-central-config")
    ),
    *(f"/v1/health/checks/{name}" for name in SERVICES),
    *(f"/v1/health/service/{name}?passing" for name in SERVICES),
    '/v1/health/service/web?filter=Node.Meta.rack=="1"',
)

name_of = st.sampled_from
WRITE = st.one_of(
    st.tuples(st.just("set"), name_of(NAMES), st.sampled_from((b"1", b"2", b"x" * 1500))),
    st.tuples(st.sampled_from(("delete", "delete-tree")), name_of(NAMES)),
    st.tuples(st.just("lock"), name_of(NAMES)),
    st.tuples(st.just("end sessions")),
    st.tuples(st.just("node"), name_of(NODES), st.sampled_from(("1", "2")), st.booleans()),
    st.tuples(st.just("service"), name_of(NODES), name_of(SERVICES), st.sampled_from(("1", "2")), st.booleans()),
    st.tuples(st.just("proxy"), name_of(NODES), name_of(SERVICES)),
    st.tuples(
        st.just("check"), name_of(NODES), st.sampled_from(("", "1", "2")), st.sampled_from(("passing", "critical"))
    ),
    st.tuples(st.just("deregister"), name_of(NODES), st.sampled_from(("", "1", "2")), st.booleans()),
    st.tuples(st.just("coordinate"), name_of(NODES), st.floats(0, 1)),
    st.tuples(st.just("defaults"), name_of(SERVICES), st.sampled_from(("tcp", "http"))),
)


def defaults_of(name: str, protocol: str) -> ServiceConfigEntry:
    return ServiceConfigEntry(name=name, protocol=protocol)


async def write(server: FakeServer, what: str, *words: Any) -> None:
    """One write; what the server refuses is as good as any other."""
    try:
        if what in ("set", "delete", "delete-tree"):
            entry = DirEntry(key=words[0], value=words[1] if len(words) > 1 else None)
            await server.call("KVS.Apply", op=what, dir_ent=entry)
        elif what == "lock":
            session = await server.call("Session.Apply", op="create", session=Session(node="n1", checks=[]))
            await server.call("KVS.Apply", op="lock", dir_ent=DirEntry(key=words[0], session=session))
        elif what == "end sessions":
            for row in server.store.sessions.rows.rows():
                await server.call("Session.Apply", op="destroy", session=row)
        elif what == "node":
            name, rack, with_id = words
            node_id = "11111111-1111-1111-1111-111111111111" if with_id else ""
            await server.call("Catalog.Register", node=name, id=node_id, address="10.0.0.1", node_meta={"rack": rack})
        elif what == "service":
            node, name, service_id, tagged = words
            service = NodeService(service=name, id=service_id, port=80, tags=["x"] if tagged else None)
            await server.call("Catalog.Register", node=node, address="10.0.0.2", service=service)
        elif what == "proxy":
            node, name = words
            proxy = ConnectProxyConfig(destination_service_name=name)
            service = NodeService(
                kind="connect-proxy", service="p", id="p", port=1, proxy=proxy, connect=ServiceConnect()
            )
            await server.call("Catalog.Register", node=node, address="10.0.0.3", service=service)
        elif what == "check":
            node, service_id, status = words
            check = HealthCheck(node=node, check_id=f"c{service_id}", name="c", status=status, service_id=service_id)
            await server.call("Catalog.Register", node=node, address="10.0.0.4", skip_node_update=True, check=check)
        elif what == "deregister":
            node, service_id, only_check = words
            fields = {"check_id": f"c{service_id}"} if only_check else {"service_id": service_id}
            await server.call("Catalog.Deregister", node=node, **fields)
        elif what == "coordinate":
            node, x = words
            row = to_wire(Coordinate(node=node, coord=CoordinateVector(vec=[x] * 8, error=1.0, height=0.1)))
            await server.raft.propose(bytes((CommandType.COORDINATES,)) + pack_builtins([row]))
        elif what == "defaults":
            await server.call("ConfigEntry.Apply", op="upsert", entry=defaults_of(*words))
    except RpcError:
        pass


@settings(max_examples=60, deadline=None)
@given(st.lists(WRITE, min_size=1, max_size=25))
def test_a_kept_answer_is_the_fresh_one_after_any_writes(writes: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        world = World()
        for target in TARGETS:
            assert world.ask(target) is not None, target
        for one in writes:
            await write(world.server, *one)
            for target in TARGETS:
                line = world.ask(target)
                assert line is not None
                assert line.answers == [await world.fresh(target)], (target, one)
        assert world.kept.bytes == sum(world.kept._kept.values())

    asyncio.run(run())


@settings(max_examples=40, deadline=None)
@given(st.lists(WRITE, min_size=1, max_size=12))
def test_who_waits_is_woken_when_the_index_passes_and_only_then(writes: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        world = World()
        for one in writes[: len(writes) // 2]:
            await write(world.server, *one)
        waiting: dict[str, tuple[Line, int, bytes]] = {}
        for target in TARGETS:
            answer = await world.fresh(target)
            index = index_of(answer)
            line = world.ask(f"{target}{'&' if '?' in target else '?'}index={index}&wait=60s")
            assert line is not None
            assert line.answers == []
            waiting[target] = line, index, body_of(answer)
        assert world.kept.waiting == len(TARGETS) == world.server.store.watches.waiting
        for one in writes[len(writes) // 2 :]:
            await write(world.server, *one)
        while world.kept._working:
            await asyncio.sleep(0)
        for target, (line, index, body) in waiting.items():
            if line.answers:
                assert index_of(line.answers[0]) > index, target
            elif "near=" not in target and "/1111" not in target:
                # Coordinates that change the order wake nobody, nor does a node that loses its ID: no index tells.
                assert body_of(await world.fresh(target)) == body, target
            if line.task is not None:
                line.task.cancel()
        assert world.kept.waiting == 0 == world.server.store.watches.waiting

    asyncio.run(run())


def index_of(answer: bytes) -> int:
    return int(answer.partition(b"X-Consul-Index: ")[2].split(b"\r\n")[0])


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


async def put(world: World, key: str, value: bytes) -> None:
    await world.server.call("KVS.Apply", op="set", dir_ent=DirEntry(key=key, value=value))


async def until(world: World, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def test_many_who_wait_for_one_key_share_one_answer() -> None:
    world = World()
    await put(world, "a", b"1")
    index = index_of(await world.fresh("/v1/kv/a"))
    lines = [world.ask(f"/v1/kv/a?index={index}&wait={number + 30}s") for number in range(100)]
    assert all(line is not None and line.task is not None for line in lines)
    made = world.kept.made
    await put(world, "b", b"1")
    await put(world, "a", b"2")
    await until(world, lambda: not world.kept.waiting)
    assert world.kept.made == made + 1
    answers = [line.answers for line in lines if line is not None]
    assert answers == [[await world.fresh("/v1/kv/a")]] * 100
    assert all(line is not None and line.task is None for line in lines)


async def test_a_wait_ends_in_time_with_the_present_answer_and_never_early() -> None:
    world = World()
    await put(world, "a", b"1")
    index = index_of(await world.fresh("/v1/kv/a"))
    loop = asyncio.get_running_loop()
    begin = loop.time()
    line = world.ask(f"/v1/kv/a?index={index}&wait=80ms")
    assert line is not None and not line.answers
    await until(world, lambda: bool(line.answers))
    assert loop.time() - begin >= 0.08
    assert line.answers == [await world.fresh("/v1/kv/a")] and world.kept.waiting == 0


async def test_an_index_of_the_past_or_of_nothing_is_answered_at_once_and_one_of_the_future_waits() -> None:
    world = World()
    await put(world, "a", b"1")
    index = index_of(await world.fresh("/v1/kv/a"))
    for past in (1, index - 1):
        line = world.ask(f"/v1/kv/a?index={past}")
        assert line is not None and line.answers == [await world.fresh(f"/v1/kv/a?index={past}")]
    line = world.ask(f"/v1/kv/a?index={index + 1000}&wait=60s")
    assert line is not None and not line.answers
    await put(world, "a", b"2")
    while world.kept._working:
        await asyncio.sleep(0)
    assert not line.answers
    line.task.cancel()


async def test_a_restored_state_answers_who_waits_with_whatever_index_it_has() -> None:
    world = World()
    target = io.BytesIO()
    world.server.fsm.snapshot()(target)
    for value in (b"1", b"2", b"3"):
        await put(world, "a", value)
    index = index_of(await world.fresh("/v1/kv/a"))
    line = world.ask(f"/v1/kv/a?index={index}&wait=60s")
    assert line is not None and not line.answers
    world.server.fsm.restore(io.BytesIO(target.getvalue()))
    await until(world, lambda: bool(line.answers))
    assert line.answers[0].startswith(b"HTTP/1.1 404") and world.kept.waiting == 0


async def test_without_leadership_nothing_that_is_kept_is_used() -> None:
    world = World()
    await put(world, "a", b"1")
    assert world.ask("/v1/kv/a") is not None
    for attribute in ("is_leader", "ready_for_reads"):
        setattr(world.server.raft, attribute, False)
        assert world.ask("/v1/kv/a") is None
        setattr(world.server.raft, attribute, True)
    line = world.ask("/v1/kv/a")
    assert line is not None and line.answers == [await world.fresh("/v1/kv/a")]


async def test_who_waits_through_a_loss_of_leadership_is_told_so() -> None:
    world = World()
    await put(world, "a", b"1")
    index = index_of(await world.fresh("/v1/kv/a"))
    line = world.ask(f"/v1/kv/a?index={index}&wait=60s")
    assert line is not None
    raft = world.server.raft
    raft.is_leader, raft.known_leader, raft.last_contact = False, None, 1.5
    world.server.fsm.apply(50, 1, raft.commands[0][1].replace(b"\xa11", b"\xa12"))
    await until(world, lambda: bool(line.answers))
    assert b"X-Consul-KnownLeader: false\r\nX-Consul-LastContact: 1500\r\n" in line.answers[0]
    raft.is_leader, raft.last_contact = True, 0.0
    again = world.ask("/v1/kv/a")
    assert again is not None and again.answers == [await world.fresh("/v1/kv/a")]
    assert b"X-Consul-KnownLeader: true" in again.answers[0]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/kv/a?consistent",
        "/v1/kv/a?dc=elsewhere",
        "/v1/health/service/web?cached",
        "/v1/kv/a?index=x",
        "/v1/kv/a?%69ndex=7",
        "/v1/kv/a?index=7&index=8",
        "/v1/kv/a?index=99999999999999999999",
        "/v1/kv/a?stale&consistent",
        "/v1/kv/a?ns=x",
        "/v1/kv/",
        "/v1/kv//a",
        "/v1/agent/self",
        "/v1/health/service/web?passing=maybe",
        "/v1/health/service/web?filter=nonsense",
        "/ui/",
    ],
)
async def test_what_must_be_asked_anew_or_refused_is_left_alone(target: str) -> None:
    world = World()
    await put(world, "a", b"1")
    assert world.ask(target) is None
    assert world.kept.waiting == 0 and not world.kept.bytes


async def test_answers_are_shared_only_by_requests_that_are_the_same_to_a_handler() -> None:
    world = World()
    await put(world, "a", b"x" * 2000)
    variants: list[tuple[str, dict[str, str]]] = [
        ("/v1/kv/a", {}),
        ("/v1/kv/a", {"X-Consul-Token": "one"}),
        ("/v1/kv/a", {"x-consul-token": "two"}),
        ("/v1/kv/a", {"Authorization": "Bearer one"}),
        ("/v1/kv/a?token=one", {}),
        ("/v1/kv/a?pretty", {}),
        ("/v1/kv/a?raw", {}),
        ("/v1/kv/a?stale", {}),
        ("/v1/kv/a", {"Accept-Encoding": "gzip"}),
    ]
    for target, headers in variants:
        made = world.kept.made
        line = world.ask(target, headers)
        assert line is not None and line.answers == [await world.fresh(target, headers)]
        assert world.kept.made == made + 1
        world.ask(target, {**headers, "User-Agent": "another", "X-Request-Id": "7"})
        assert world.kept.made == made + 1, "what no handler sees must not matter"
    packed = world.ask("/v1/kv/a", {"Accept-Encoding": "gzip"})
    plain = world.ask("/v1/kv/a")
    assert packed is not None and plain is not None
    assert gzip.decompress(body_of(packed.answers[0])) == body_of(plain.answers[0])


async def test_a_change_of_who_may_read_drops_every_answer() -> None:
    world = World()
    await put(world, "a", b"1")
    world.ask("/v1/kv/a")
    made = world.kept.made
    world.server.store.watches.fire({WHO_MAY})
    world.ask("/v1/kv/a")
    assert world.kept.made == made + 1


async def test_a_reloaded_configuration_drops_every_answer() -> None:
    world = World()
    await put(world, "a", b"1")
    assert world.ask("/v1/kv/a") is not None
    world.agent.config = msgspec.structs.replace(world.agent.config)
    assert world.kept.take(Line(), world.head("/v1/kv/a")) is False
    assert not world.kept.bytes and world.ask("/v1/kv/a") is not None


async def test_kept_answers_are_bounded_and_the_ones_in_use_stay() -> None:
    world = World(max_kept=50_000)
    for number in range(40):
        await put(world, f"k{number}", b"x" * 3000)
    for number in range(40):
        world.ask("/v1/kv/k0?raw")
        world.ask(f"/v1/kv/k{number}?raw")
        assert world.kept.bytes <= 50_000
    made = world.kept.made
    world.ask("/v1/kv/k0?raw")
    assert world.kept.made == made
    await put(world, "large", b"x" * 60_000)
    line = world.ask("/v1/kv/large?raw")
    assert line is not None and line.answers == [await world.fresh("/v1/kv/large?raw")]
    assert len(world.server.store.watches._by_topic) < 60


async def test_what_is_known_of_heads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "MAX_HEADS", 20_000)
    world = World()
    for number in range(200):
        world.ask(f"/v1/kv/k{number}")
        assert world.kept._head_bytes <= 20_000
    assert world.ask("/v1/kv/" + "x" * 3000) is None


async def test_a_client_that_leaves_is_forgotten() -> None:
    world = World()
    await put(world, "a", b"1")
    index = index_of(await world.fresh("/v1/kv/a"))
    for number in itertools.count():
        line = world.ask(f"/v1/kv/a?index={index}&wait=60s")
        assert line is not None
        line.task.cancel()
        if number == 50:
            break
    assert world.kept.waiting == 0
    assert sum(len(waiters) for waiters in world.kept._deadlines._at.values()) == 0
    gone = world.ask(f"/v1/kv/a?index={index}&wait=60s")
    assert gone is not None
    await put(world, "a", b"2")
    gone.task.cancel()  # Between the change and its turn to be woken.
    while world.kept._working:
        await asyncio.sleep(0)
    assert not gone.answers and world.kept.waiting == 0


async def test_every_read_is_counted_and_timed_however_it_is_answered() -> None:
    world = World()
    await put(world, "a", b"1")
    index = index_of(await world.fresh("/v1/kv/a"))
    times = METRICS.sample("api.http", method="GET", path="v1_kv__")
    queries, timed = QUERIES.count, times.count
    for _ in range(3):
        assert world.ask("/v1/kv/a") is not None
    line = world.ask(f"/v1/kv/a?index={index}&wait=60s")
    assert line is not None and (QUERIES.count, times.count) == (queries + 4, timed + 3)
    await put(world, "a", b"2")
    await until(world, lambda: bool(line.answers))
    assert (QUERIES.count, times.count) == (queries + 4, timed + 4)


async def test_tens_of_thousands_wait_without_tasks_or_timers_and_others_get_turns_while_they_wake() -> None:
    world = World()
    await put(world, "a", b"1")
    index = index_of(await world.fresh("/v1/kv/a"))
    lines = [Line() for _ in range(20_000)]
    head = world.head(f"/v1/kv/a?index={index}&wait=60s")
    assert world.kept.take(Line(), head)
    tracemalloc.start()
    for line in lines:
        assert world.kept.take(line, head)
    each = tracemalloc.get_traced_memory()[0] / len(lines)
    tracemalloc.stop()
    assert each < 500, "bytes for each that waits"
    assert len(asyncio.all_tasks()) == 1 and len(world.kept._deadlines._ticks) < 6000
    made = world.kept.made
    await put(world, "a", b"2")
    turns = 0
    while world.kept.waiting:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 5 and world.kept.made == made + 1
    assert all(len(line.answers) == 1 and line.task is None for line in lines)
    assert not world.kept._deadlines.due(float("inf"))
