"""The snapshot archive: what is written, here or by a real Consul, is read; everything else is refused in words."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import snapshot_archive
from server.fsm import Fsm
from server.snapshot_archive import ArchiveError, ArchiveMeta, ArchiveServer, read_archive, write_archive

SNAPSHOTS = Path("../shared/protocols")
STATE = b"\x81\xa9LastIndex\x05"


def made(state: bytes = STATE) -> bytes:
    target = io.BytesIO()
    meta = ArchiveMeta(index=5, term=2, size=0, servers=[ArchiveServer("id-1", "127.0.0.1:8300")])
    write_archive(target, meta, lambda out: out.write(state) and None, now=1700000000.0)
    return target.getvalue()


def tar_of(files: list[tuple[str, bytes]], closing: bytes = bytes(1024), tar_format: int = 0) -> bytes:
    out = b""
    for name, content in files:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        out += info.tobuf(tar_format) + content + bytes(-len(content) % 512)
    return gzip.compress(out + closing, mtime=0)


def parts(state: bytes = STATE, version: int = 1, size: int | None = None) -> list[tuple[str, bytes]]:
    size = len(state) if size is None else size
    meta = json.dumps({"Version": version, "Index": 5, "Term": 2, "Size": size}).encode()
    contents = (("state.bin", state), ("meta.json", meta))
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents)
    return [("meta.json", meta), ("state.bin", state), ("SHA256SUMS", sums.encode())]


def test_what_is_written_is_read() -> None:
    meta, state = read_archive(io.BytesIO(made()))
    with state:
        assert state.read() == STATE
    assert (meta.index, meta.term, meta.size, meta.id) == (5, 2, len(STATE), "2-5-1700000000000")
    assert meta.servers == [ArchiveServer("id-1", "127.0.0.1:8300")]


def test_the_archive_is_an_ordinary_tar_without_padding() -> None:
    unpacked = gzip.decompress(made())
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        assert archive.getnames() == ["meta.json", "state.bin", "SHA256SUMS"]
        assert all(member.mode == 0o600 and member.uid == 0 for member in archive)
    assert len(unpacked) == 3 * 1024 + 1024


@pytest.mark.skipif(not SNAPSHOTS.exists(), reason="the recorded snapshots are not here")
@pytest.mark.parametrize("name", ["plain", "acl", "full"])
def test_a_recorded_archive_goes_through_restore_and_save(name: str) -> None:
    with open(SNAPSHOTS / f"{name}.snap", "rb") as source:
        meta, state = read_archive(source)
    fsm = Fsm()
    with state:
        fsm.restore(state)  # type: ignore[arg-type]
    target = io.BytesIO()
    again = write_archive(target, meta, fsm.snapshot())
    assert again.size == meta.size
    target.seek(0)
    checked, state = read_archive(target)
    state.close()
    assert checked == again


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("closing", [b"", bytes(1024)])
def test_other_writers_are_understood(tar_format: int, closing: bytes) -> None:
    files = parts()
    for order in (files, files[::-1]):
        meta, state = read_archive(io.BytesIO(tar_of(order, closing, tar_format)))
        state.close()
        assert meta.index == 5


def test_several_gzip_members_are_one_stream() -> None:
    unpacked = gzip.decompress(made())
    archive = gzip.compress(unpacked[:700]) + gzip.compress(unpacked[700:])
    meta, state = read_archive(io.BytesIO(archive))
    state.close()
    assert meta.index == 5


@pytest.mark.parametrize(
    ("archive", "text"),
    [
        (b"", "failed to decompress snapshot: EOF"),
        (b"hello", "failed to decompress snapshot: gzip: invalid header"),
        (base64.b64decode("H4sIAAAAAAAA/wAAAAD//w=="), "snapshot: flate: corrupt input before offset 5"),
        (
            made()[:-6] + b"\0" + made()[-5:],
            "failed to read snapshot file: failed reading snapshot: gzip: invalid checksum",
        ),
        (made()[:-20], "unexpected EOF"),
        (made() + b"junk", "unexpected EOF"),
        (tar_of([("x", b"y")]), 'unexpected file "x" in snapshot'),
        (tar_of(parts(), bytes(1024 + 8192)), "8192 unread uncompressed bytes remain"),
        (tar_of([parts()[0], ("state.bin", b"other"), parts()[2]]), 'hash check failed for "state.bin"'),
        (tar_of([*parts()[:2], ("SHA256SUMS", parts()[2][1][:76])]), 'file missing for "meta.json"'),
        (tar_of(parts(version=2)), "unsupported snapshot version 2"),
        (tar_of(parts(size=82)), f"size didn't match ({len(STATE)} != 82)"),
        (tar_of([("meta.json", b"{"), *parts()[1:]]), "failed to decode snapshot metadata"),
        (tar_of([]), "failed to decode snapshot metadata"),
        (gzip.compress(b"x" * 2000, mtime=0), "invalid tar header"),
        (gzip.compress(b"x" * 20, mtime=0), "unexpected EOF"),
    ],
    ids=range(16),
)
def test_what_is_wrong_is_said(archive: bytes, text: str) -> None:
    with pytest.raises(ArchiveError) as failure:
        read_archive(io.BytesIO(archive))
    assert text in str(failure.value)


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tar_of(parts(bytes(4 << 20)))
    with pytest.raises(ArchiveError, match="larger than 1000 bytes"):
        read_archive(io.BytesIO(bomb), max_state=1000)
    monkeypatch.setattr(snapshot_archive, "FREE_EXPANSION", 1 << 20)
    monkeypatch.setattr(snapshot_archive, "MAX_EXPANSION", 10)
    with pytest.raises(ArchiveError, match="far more than a snapshot holds"):
        read_archive(io.BytesIO(bomb))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_harmless(at: int, value: int) -> None:
    archive = bytearray(made(STATE * 50))
    archive[at % len(archive)] = value
    try:
        _, state = read_archive(io.BytesIO(bytes(archive)))
    except ArchiveError:
        return
    with state:
        assert state.read() == STATE * 50
