"""The snapshot request of the server port: both ways, refusals, and peers that say something else."""

import asyncio
import io
from typing import IO

import pytest

from model.errors import RpcError
from model.structs.operator import SnapshotRequest, SnapshotResponse
from rpc import snapshot_stream
from rpc.listener import Listener
from rpc.snapshot_stream import RESTORE, SAVE, ask, spool

STATE = bytes(range(256)) * 5000


async def _unused(*_: object) -> None:
    raise AssertionError


class Port:
    """A listener that answers snapshot requests and remembers the archives that it was given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.listener = Listener(_unused, _unused, self._answer)

    async def _answer(self, request: SnapshotRequest, archive: IO[bytes]) -> tuple[SnapshotResponse, IO[bytes]]:
        if request.datacenter != "dc1":
            raise RpcError("No path to datacenter")
        self.given.append(archive.read())
        saved = spool()
        if request.op == SAVE:
            saved.write(STATE)
            saved.seek(0)
        return SnapshotResponse(index=7), saved

    async def __aenter__(self) -> "Port":
        self.address = f"127.0.0.1:{await self.listener.start('127.0.0.1', 0)}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.listener.stop()


async def test_an_archive_goes_out_and_in() -> None:
    async with Port() as port:
        response, saved = await ask(port.address, SnapshotRequest(datacenter="dc1"), io.BytesIO())
        with saved:
            assert response.index == 7 and saved.read() == STATE
        request = SnapshotRequest(datacenter="dc1", op=RESTORE)
        _, nothing = await ask(port.address, request, io.BytesIO(STATE))
        with nothing:
            assert nothing.read() == b""
        assert port.given == [b"", STATE]


async def test_a_refusal_is_told_and_nothing_follows() -> None:
    async with Port() as port:
        with pytest.raises(RpcError, match="No path to datacenter"):
            await ask(port.address, SnapshotRequest(datacenter="nowhere", op=RESTORE), io.BytesIO(STATE))


async def test_who_wants_an_archive_sends_none() -> None:
    async with Port() as port:
        with pytest.raises(ConnectionError):
            await ask(port.address, SnapshotRequest(datacenter="dc1"), io.BytesIO(STATE))
        assert port.given == []


@pytest.mark.parametrize("rubbish", [b"\xc1", b"\x93\x01\x02\x03", b"\xdb\x7f\xff\xff\xff" + b"x" * 100_000, b""])
async def test_rubbish_is_disconnected_and_the_port_goes_on(rubbish: bytes) -> None:
    async with Port() as port:
        host, _, number = port.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(number))
        writer.write(b"\x05" + rubbish)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        _, saved = await ask(port.address, SnapshotRequest(datacenter="dc1"), io.BytesIO())
        saved.close()
        assert len(port.given) == 1


async def test_an_archive_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_stream, "MAX_ARCHIVE", 100_000)
    async with Port() as port:
        with pytest.raises(ConnectionError):
            await ask(port.address, SnapshotRequest(datacenter="dc1", op=RESTORE), io.BytesIO(STATE))
        assert port.given == []


async def test_nobody_there_is_a_connection_error() -> None:
    with pytest.raises(ConnectionError):
        await ask("127.0.0.1:1", SnapshotRequest(datacenter="dc1"), io.BytesIO())
    with pytest.raises(ConnectionError, match="no address"):
        await ask("nowhere", SnapshotRequest(datacenter="dc1"), io.BytesIO())
