"""TLS on the servers' port: who is let in, half-closed connections, and peers that break it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import uvloop

from mesh.agent_ca import Wanted
from model.structs.base import Empty
from model.structs.operator import SnapshotRequest, SnapshotResponse
from rpc.dialing import Dialer
from rpc.listener import Listener
from rpc.pool import Pool
from rpc.security import Rules, Security
from rpc.snapshot_stream import RESTORE, ask, spool
from rpc.tls import Tls
from tests.support.certificates import Authority

STATE = bytes(range(256)) * 20_000


async def _ping(method: str, args: Any) -> Any:
    return Empty()


class Port:
    """A listener with TLS, and dialers for it."""

    def __init__(self, folder: Path, **rules: Any) -> None:
        self.authority = Authority(folder)
        self.server = self.authority.files("server", Wanted("server"))
        self.client = self.authority.files("client", Wanted("client"))
        accept = self.authority.context(self.server, True, bool(rules.get("verify_incoming")))
        self.security = Security(Rules(accept=accept, **rules))
        self.raft = 0
        self.given: list[bytes] = []
        self.listener = Listener(_ping, self._raft, self._snapshot, self.security)
        self.address = ""

    async def _raft(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.raft += 1
        writer.write(b"raft")

    async def _snapshot(self, request: SnapshotRequest, archive: IO[bytes]) -> tuple[SnapshotResponse, IO[bytes]]:
        self.given.append(archive.read())
        saved = spool()
        saved.write(STATE)
        saved.seek(0)
        return SnapshotResponse(index=7), saved

    def dialer(self, files: dict[str, str] | None, **rules: Any) -> Dialer:
        context = self.authority.context(files, False) if files else None
        if context is not None and rules.get("verify_server_hostname"):
            context.check_hostname = True
        return Dialer("", Security(Rules(dial=context, **rules)))

    async def raft_answer(self, dialer: Dialer) -> bytes:
        reader, writer = await dialer.dial(self.address, 5)
        writer.write(b"\x01")
        try:
            return await asyncio.wait_for(reader.read(), 60)
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def serving(folder: Path, **rules: Any) -> AsyncIterator[Port]:
    port = Port(folder, **rules)
    port.address = f"127.0.0.1:{await port.listener.start('127.0.0.1', 0)}"
    try:
        yield port
    finally:
        await port.listener.stop()


async def ping(port: Port, dialer: Dialer) -> None:
    pool = Pool(dialer)
    try:
        await pool.call(port.address, "Status.Ping", Empty())
    finally:
        await pool.close()


async def test_without_verify_incoming_plain_and_tls_are_served(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        await ping(port, port.dialer(None))
        await ping(port, port.dialer({"ca_file": port.authority.ca}))
        assert await port.raft_answer(port.dialer(None)) == b"raft"


async def test_verify_incoming_wants_tls_and_a_certificate_of_the_authority(tmp_path: Path) -> None:
    async with serving(tmp_path, verify_incoming=True) as port:
        await ping(port, port.dialer(port.client))
        stranger = Authority(tmp_path / "other")
        theirs = {**stranger.files("theirs", Wanted("client")), "ca_file": port.authority.ca}
        for files in (None, {"ca_file": port.authority.ca}, theirs):
            with pytest.raises(ConnectionError):
                await ping(port, port.dialer(files))
        await ping(port, port.dialer(port.client))
        assert not port.listener.per_client


async def test_the_servers_certificate_is_verified(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        stranger = Authority(tmp_path / "other")
        with pytest.raises(ConnectionRefusedError, match=r"TLS failed: .*signed by unknown authority"):
            await ping(port, port.dialer({"ca_file": stranger.ca}))
        await ping(port, port.dialer(port.client, verify_server_hostname=True, server_name="server.dc1.consul"))
        with pytest.raises(ConnectionRefusedError, match="certificate is not valid for"):
            await ping(port, port.dialer(port.client, verify_server_hostname=True, server_name="server.dc2.consul"))


async def test_only_servers_speak_raft_where_names_are_verified(tmp_path: Path) -> None:
    rules = {"verify_incoming": True, "verify_server_hostname": True, "server_name": "server.dc1.consul"}
    async with serving(tmp_path, **rules) as port:
        assert await port.raft_answer(port.dialer(port.client)) == b""
        assert port.raft == 0
        assert await port.raft_answer(port.dialer(port.server)) == b"raft"


@pytest.mark.parametrize("on_uvloop", [False, True])
def test_a_snapshot_request_ends_one_direction_of_tls(tmp_path: Path, on_uvloop: bool) -> None:
    async def exchange() -> None:
        async with serving(tmp_path, verify_incoming=True) as port:
            request = SnapshotRequest(datacenter="dc1", op=RESTORE)
            await ask(port.address, request, io.BytesIO(STATE), port.dialer(port.client))
            response, saved = await ask(
                port.address, SnapshotRequest(datacenter="dc1"), io.BytesIO(), port.dialer(port.client)
            )
            with saved:
                assert saved.read() == STATE and response.index == 7
            assert port.given == [STATE, b""]

    (uvloop.run if on_uvloop else asyncio.run)(exchange())


async def test_a_server_without_a_certificate_refuses_tls(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        port.security.rules = Rules()
        with pytest.raises(ConnectionRefusedError):
            await ping(port, port.dialer(port.client))
        await ping(port, port.dialer(None))


async def test_new_rules_hold_for_the_next_connection_and_leave_others_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        pool = Pool(port.dialer(None))
        await pool.call(port.address, "Status.Ping", Empty())
        port.security.rules = Rules(accept=port.security.rules.accept, verify_incoming=True)
        await pool.call(port.address, "Status.Ping", Empty())
        with pytest.raises(ConnectionError):
            await ping(port, port.dialer(None))
        await pool.close()


async def test_who_says_nothing_or_rubbish_is_disconnected(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        port.security.handshake_timeout = 0.3
        host, _, number = port.address.partition(":")
        tls = (b"\x03", b"\x03\x16\x03\x01", b"\x03GET / HTTP/1.1\r\n\r\n")
        for words in (b"", *tls, b"\x06", b"\x07", b"\x16\x03\x01"):
            reader, writer = await asyncio.open_connection(host, int(number))
            writer.write(words)
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 60)
            writer.close()
        reader, writer = await port.dialer(port.client).dial(port.address, 5)
        with pytest.raises(ConnectionResetError, match="without a farewell"):
            await asyncio.wait_for(reader.read(), 60)  # Inside TLS a byte is waited for as well.
        writer.close()
        while port.listener.per_client:
            await asyncio.sleep(0.01)
        port.security.handshake_timeout = 5.0
        await ping(port, port.dialer(port.client))


async def test_connections_of_one_address_are_limited_and_counted_until_they_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        port.listener.max_per_client = 3
        host, _, number = port.address.partition(":")
        held = [await asyncio.open_connection(host, int(number)) for _ in range(3)]
        held[0][1].write(b"\x03")
        with pytest.raises(ConnectionError):
            await ping(port, port.dialer(None))
        held[0][1].close()
        while port.listener.per_client["127.0.0.1"] > 2:
            await asyncio.sleep(0.01)
        await ping(port, port.dialer(None))
        for _, writer in held:
            writer.close()


def test_the_machine_tells_a_farewell_from_a_cut_and_flags_rubbish(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.files("server", Wanted("server"))
    one = Tls(authority.context(server, False), False, "server.dc1.consul")
    other = Tls(authority.context(server, True), True)
    one.receive(b"")
    while not (one.open and other.open):
        other.receive(one.out())
        one.receive(other.out())
    one.send(b"question")
    one.end()
    assert other.receive(one.out()) == b"question" and other.ended
    other.send(b"answer")
    assert one.receive(other.out()) == b"answer" and not one.ended
    with pytest.raises(ssl.SSLError):
        one.receive(b"\x17\x03\x03\x00\x05hello")


async def test_servers_of_another_datacenter_have_names_of_their_own(tmp_path: Path) -> None:
    names = {"verify_server_hostname": True, "server_name": "server.dc1.consul"}
    async with serving(tmp_path) as port:
        for number, datacenter in enumerate(("dc1", "dc2")):
            files = port.authority.files(f"s{number}", Wanted("server", datacenter=datacenter))
            port.security.rules = Rules(accept=port.authority.context(files, True, False))
            for asked in ("dc1", "dc2"):
                dialer = port.dialer(port.client, **names)
                dialer._datacenter_of = lambda address, name=asked: "" if name == "dc1" else name  # type: ignore[misc]
                if asked == datacenter:
                    await ping(port, dialer)
                else:
                    with pytest.raises(ConnectionError, match="TLS failed"):
                        await ping(port, dialer)
    assert Rules(server_name="server.dc1.a.example").name_in("dc9") == "server.dc9.a.example"
    assert Rules().name_in("dc9") == ""
