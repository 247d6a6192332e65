"""Snapshots that nobody saved: archives whose sums are right and whose records are wrong, or that are huge inside.

LICTOR_FUZZ_REQUESTS=20000 LICTOR_FUZZ_SEED=7 .venv/bin/python -m pytest tests/agent/test_hostile_archives.py
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import io
import json
import os
import random
import tarfile
import traceback
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from model.errors import RpcError
from server.fsm import Fsm
from server.snapshot_archive import read_archive
from tests.agent.test_hostile_bodies import BODIES, OFF
from tests.support.mutate import wrong_bytes
from tests.support.process import Agent, dev_agent
from tests.support.usage import unexpected, usage

TRIES = int(os.environ.get("LICTOR_FUZZ_REQUESTS", "1500"))
SEED = int(os.environ.get("LICTOR_FUZZ_SEED", "1"))
VALUES = (
    None,
    True,
    -1,
    0,
    1 << 63,
    (1 << 64) - 1,
    1e309,
    -0.5,
    "",
    b"\xff\xfe",
    "x" * 100_000,
    [],
    {},
    [None],
    [[[]]],
    {1: 2},
)
READS = ("catalog/nodes", "health/state/any", "config/", "query", "connect/ca/roots", "internal/ui/services")
Records = list[tuple[int, Any]]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent"), log_level="WARN") as running:
        for method, path, body in BODIES:
            if not path.startswith((*OFF, "/v1/agent/")):
                assert running.request(method, path, body)[0] == 200, path
        yield running


@pytest.fixture(scope="module")
def saved(agent: Agent) -> bytes:
    """A snapshot that holds something of every kind."""
    status, archive = agent.request("GET", "/v1/snapshot")
    assert status == 200
    return archive


def unpacked(archive: bytes) -> tuple[Any, Records]:
    """The header and the records of an archive."""
    _, state = read_archive(io.BytesIO(archive))
    with state:
        unpacker = msgpack.Unpacker(state, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
        header = unpacker.unpack()
        found = list(unpacker)
    return header, list(zip(found[::2], found[1::2], strict=True))


def packed(header: Any, records: Records) -> bytes:
    """The state that these make."""
    options: dict[str, Any] = {"use_bin_type": False, "unicode_errors": "surrogateescape"}
    parts = [msgpack.packb(header, **options)]
    for kind, value in records:
        parts += [bytes((kind,)), msgpack.packb(value, **options)]
    return b"".join(parts)


def archive_of(state: bytes, more: list[tarfile.TarInfo] | None = None, **meta: Any) -> bytes:
    """An archive whose sums are right."""
    described = json.dumps({"Version": 1, "Index": 5, "Term": 2, "Size": len(state), **meta}).encode()
    contents = (("meta.json", described), ("state.bin", state))
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info in more or []:
            archive.addfile(info, io.BytesIO(bytes(info.size)) if info.size and info.isreg() else None)
        for name, content in (*contents, ("SHA256SUMS", sums)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    end = out.getvalue().rstrip(b"\0")
    return gzip.compress(end + bytes(-len(end) % 512) + bytes(1024), mtime=0)


def wrong(chance: random.Random, header: Any, records: Records) -> bytes:
    """A state with one thing amiss."""
    if chance.random() < 0.2:
        return wrong_bytes(chance, packed(header, records))
    header, records = copy.deepcopy((header, records))
    if chance.random() < 0.05:
        header[chance.choice(list(header))] = chance.choice(VALUES)
        return packed(header, records)
    at = chance.randrange(len(records))
    kind, value = records[at]
    places = list(_places(value))
    if not places or chance.random() < 0.1:
        records[at] = (chance.choice((kind, chance.randrange(64))), chance.choice(VALUES))
    else:
        holder, key = chance.choice(places)
        if chance.random() < 0.2 and isinstance(holder, dict):
            del holder[key]
        else:
            holder[key] = chance.choice(VALUES)
        if chance.random() < 0.2:
            records.append(records[at])
    return packed(header, records)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(item)


@pytest.mark.slow
@pytest.mark.timeout(max(300, TRIES // 20))
def test_wrong_records_are_refused_or_harmless(agent: Agent, saved: bytes) -> None:
    chance = random.Random(SEED)
    header, records = unpacked(saved)
    assert len({kind for kind, _ in records}) >= 10
    taken = 0
    found: dict[str, str] = {}
    for _ in range(TRIES):
        state = wrong(chance, header, records)
        fsm = Fsm()
        try:
            fsm.restore(io.BytesIO(state))
        except RpcError:
            continue
        except Exception as error:
            found[f"{type(error).__name__}: {error}"[:60]] = traceback.format_exc()[-900:]
            continue
        taken += 1
        fsm.export()(io.BytesIO())
    assert not found, "\n\n".join(found.values())
    assert 0 < taken < TRIES


@pytest.mark.slow
def test_an_agent_outlives_them(agent: Agent, saved: bytes) -> None:
    chance = random.Random(SEED)
    header, records = unpacked(saved)
    early = usage(agent)
    for _ in range(min(60, TRIES // 20)):
        status, answer = agent.request("PUT", "/v1/snapshot", archive_of(wrong(chance, header, records)), seconds=60)
        assert status in (200, 500) and answer != b"internal error", answer
        agent.until(lambda: agent.json("PUT", "/v1/kv/well", b"1"))
        for path in (
            "catalog/nodes",
            "health/state/any",
            "config/",
            "query",
            "connect/ca/roots",
            "internal/ui/services",
        ):
            agent.request("GET", f"/v1/{path}")
    assert agent.request("PUT", "/v1/snapshot", saved, seconds=60)[0] == 200
    agent.until(lambda: agent.json("GET", "/v1/catalog/service/ext")[0]["ServicePort"] == 80)
    log = agent.log.read_text()
    assert "Traceback" not in log, unexpected(log)
    assert usage(agent).resident < early.resident + (64 << 20), (early, usage(agent))


def _member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


@pytest.mark.parametrize(
    ("more", "meta", "text"),
    [
        ([_member("state.bin", tarfile.SYMTYPE, link="/etc/passwd")], {}, b'unexpected file "state.bin"'),
        ([_member("meta.json", tarfile.LNKTYPE, link="state.bin")], {}, b'unexpected file "meta.json"'),
        ([_member("../../etc/cron.d/x")], {}, b'unexpected file "../../etc/cron.d/x"'),
        ([_member("state.bin", tarfile.GNUTYPE_SPARSE, 10)], {}, b"unexpected file"),
        ([_member("d", tarfile.DIRTYPE)], {}, b'unexpected file "d"'),
        ([_member("state.bin", size=512)], {}, b'unexpected file "state.bin"'),
        ([_member("meta.json", size=2 << 20)], {}, b"meta.json is too large"),
        ([_member("x" * 200_000)], {}, b"extended header is too large"),
        ([], {"Index": 1 << 70}, b"index"),
        ([], {"Index": (1 << 64) - 1}, b"index"),
        ([], {"Index": -1}, b"failed to decode snapshot metadata"),
        ([], {"Size": 1 << 60}, b"size didn't match"),
        ([], {"Size": True}, b"size didn't match"),
        ([], {"Configuration": [1]}, b"failed to decode snapshot metadata"),
        ([], {"Configuration": {"Servers": 7}}, b"failed to decode snapshot metadata"),
    ],
    ids=range(15),
)
def test_archives_that_are_more_than_they_seem(
    agent: Agent, saved: bytes, more: list[tarfile.TarInfo], meta: dict[str, Any], text: bytes
) -> None:
    header, records = unpacked(saved)
    status, answer = agent.request("PUT", "/v1/snapshot", archive_of(packed(header, records), more, **meta))
    assert status == 500 and text in answer, answer
    assert agent.json("PUT", "/v1/kv/well", b"1")
    log = agent.log.read_text()
    assert "Traceback" not in log, unexpected(log)


def test_a_bomb(agent: Agent) -> None:
    early = usage(agent)
    zeros = bytes(1 << 20)
    out = io.BytesIO()
    info = _member("state.bin", size=1 << 33)
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as bomb:
        bomb.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(200):
            bomb.write(zeros)
    assert len(out.getvalue()) < 1 << 20
    status, answer = agent.request("PUT", "/v1/snapshot", out.getvalue(), seconds=60)
    assert status == 500 and (b"far more than a snapshot holds" in answer or b"unexpected EOF" in answer), answer
    assert usage(agent).resident < early.resident + (64 << 20)
    assert agent.json("PUT", "/v1/kv/well", b"1")
