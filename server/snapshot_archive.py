"""The snapshot archive that `snapshot save` gives and `snapshot restore` takes: gzip around a tar of three files.

Source: the public form of Consul's archives: `meta.json`, `state.bin` and `SHA256SUMS`, in this order, and not one byte
after the tar's two closing blocks. Reading checks names, sums, sizes and that nothing is left over, before anybody sees
a record; sizes are bounded, so that a small archive cannot unpack into a huge one.
"""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, BinaryIO, NamedTuple

import msgpack

META, STATE, SUMS = "meta.json", "state.bin", "SHA256SUMS"
MAX_META = 1 << 20
MAX_SUMS = 64 << 10
MAX_STATE = 16 << 30
"""Bytes that a state may take when unpacked."""
MAX_NUMBER = 1 << 62
"""Above all indexes that can be: those of the state go on from a restored one, and must never end."""
MAX_EXPANSION = 1024
"""How many times larger than the archive the state may be, beyond the first `FREE_EXPANSION` bytes."""
FREE_EXPANSION = 64 << 20
_BLOCK = 512
_CHUNK = 1 << 20
_MEMORY = 8 << 20


class ArchiveError(ValueError):
    """An archive that cannot be taken; the text says what is wrong with it."""


class ArchiveServer(NamedTuple):
    """A server of the configuration that is written into an archive, for people to read."""

    id: str
    address: str
    voter: bool = True


@dataclass(frozen=True)
class ArchiveMeta:
    """What `meta.json` says: the last log entry that the state includes, and who was in the cluster."""

    index: int
    term: int
    size: int
    version: int = 1
    id: str = ""
    servers: Sequence[ArchiveServer] = ()
    configuration_index: int = 0


def write_archive(
    target: BinaryIO,
    meta: ArchiveMeta,
    write_state: Callable[[BinaryIO], None],
    now: float | None = None,
) -> ArchiveMeta:
    """Write an archive to `target`; `write_state` writes the records. Returns the meta with size and ID filled in.

    The state is spooled to disk when it is large, because its size stands before it. `now` is in seconds since the
    Unix epoch.
    """
    now = time.time() if now is None else now
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY) as spool:
        hashing = _Hashing(spool)
        write_state(hashing)  # type: ignore[arg-type]
        meta = replace(meta, size=hashing.size, id=meta.id or f"{meta.term}-{meta.index}-{int(now * 1000)}")
        described = _meta_json(meta)
        sums = f"{hashlib.sha256(described).hexdigest()}  {META}\n{hashing.hexdigest()}  {STATE}\n".encode()
        spool.seek(0)
        with gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as packed:
            _write_member(packed, META, len(described), io.BytesIO(described), now)
            _write_member(packed, STATE, hashing.size, spool, now)
            _write_member(packed, SUMS, len(sums), io.BytesIO(sums), now)
            packed.write(bytes(2 * _BLOCK))
    return meta


def _meta_json(meta: ArchiveMeta) -> bytes:
    servers = [
        {"Suffrage": 0 if server.voter else 1, "ID": server.id, "Address": server.address} for server in meta.servers
    ]
    peers = msgpack.packb([server.address.encode() for server in meta.servers], use_bin_type=False)
    described = {
        "Version": meta.version,
        "ID": meta.id,
        "Index": meta.index,
        "Term": meta.term,
        "Peers": base64.b64encode(peers).decode(),
        "Configuration": {"Servers": servers},
        "ConfigurationIndex": meta.configuration_index,
        "Size": meta.size,
    }
    return json.dumps(described, separators=(",", ":")).encode() + b"\n"


def _write_member(packed: gzip.GzipFile, name: str, size: int, source: Any, now: float) -> None:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, int(now)
    packed.write(header.tobuf(tarfile.GNU_FORMAT))
    while chunk := source.read(_CHUNK):
        packed.write(chunk)
    packed.write(bytes(-size % _BLOCK))


class _Hashing:
    """A writer that counts and hashes what goes through it."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._target.write(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def read_archive(source: BinaryIO, max_state: int = MAX_STATE) -> tuple[ArchiveMeta, IO[bytes]]:
    """Check a whole archive and return its meta and its state, spooled and rewound; the caller closes it.

    Raises ArchiveError.
    """
    stream = _Gunzip(source)
    spool = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        meta = _read_members(stream, spool, max_state)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return meta, spool


def _read_members(stream: "_Gunzip", spool: IO[bytes], max_state: int) -> ArchiveMeta:
    described, sums, state = b"", b"", None
    computed: dict[str, str] = {}
    seen: set[str] = set()
    while (member := _next_header(stream)) is not None:
        plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if member.name not in (META, STATE, SUMS) or not plain or member.name in seen:
            raise ArchiveError(f'failed to read snapshot file: unexpected file "{member.name[:80]}" in snapshot')
        seen.add(member.name)
        if member.name == STATE:
            if member.size > max_state:
                raise ArchiveError(f"failed to read snapshot file: the state is larger than {max_state} bytes")
            state = _Hashing(spool)
            stream.copy(member.size, state.write)
            computed[STATE] = state.hexdigest()
        else:
            if member.size > (MAX_META if member.name == META else MAX_SUMS):
                raise ArchiveError(f"failed to read snapshot file: {member.name} is too large")
            content = stream.exactly(member.size)
            if member.name == META:
                described, computed[META] = content, hashlib.sha256(content).hexdigest()
            else:
                sums = content
        stream.exactly(-member.size % _BLOCK)
    if described == b"":
        raise ArchiveError("failed to read snapshot file: failed to decode snapshot metadata: EOF")
    meta = _parse_meta(described)
    _check_sums(sums, computed)
    left = stream.count_rest()
    if left:
        raise ArchiveError(f"{left} unread uncompressed bytes remain")
    if meta.version != 1:
        raise ArchiveError(f"Raft error when restoring snapshot: unsupported snapshot version {meta.version}")
    size = state.size if state is not None else 0
    if meta.size != size:
        raise ArchiveError(
            "Raft error when restoring snapshot: failed to write snapshot, "
            f"size didn't match ({size} != {meta.size})"
        )
    return meta


def _next_header(stream: "_Gunzip") -> tarfile.TarInfo | None:
    """The header of the next regular member, after any extended ones; None at the end."""
    while True:
        block = stream.upto(_BLOCK)
        if not block:
            return None
        if len(block) < _BLOCK:
            raise ArchiveError("failed to read snapshot file: failed reading snapshot: unexpected EOF")
        if block == bytes(_BLOCK):
            if stream.upto(_BLOCK).strip(b"\0"):
                raise ArchiveError("failed to read snapshot file: failed reading snapshot: archive/tar: invalid header")
            return None
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            text = "failed to read snapshot file: failed reading snapshot: archive/tar: invalid tar header"
            raise ArchiveError(text) from None
        if member.size < 0:
            raise ArchiveError("failed to read snapshot file: a file has a negative size")
        if member.type not in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            return member
        if member.size > MAX_SUMS:
            raise ArchiveError("failed to read snapshot file: an extended header is too large")
        stream.exactly(member.size + -member.size % _BLOCK)


def _parse_meta(described: bytes) -> ArchiveMeta:
    try:
        found = json.loads(described)
        numbers = {key: found.get(key) or 0 for key in ("Version", "Index", "Term", "Size", "ConfigurationIndex")}
        if not all(isinstance(number, int) and 0 <= number < MAX_NUMBER for number in numbers.values()):
            raise ValueError("an index or a size is not a number in range")
        return ArchiveMeta(
            index=numbers["Index"],
            term=numbers["Term"],
            size=numbers["Size"],
            version=numbers["Version"],
            id=str(found.get("ID") or ""),
            servers=[
                ArchiveServer(str(server["ID"]), str(server["Address"]), server.get("Suffrage", 0) == 0)
                for server in (found.get("Configuration") or {}).get("Servers") or ()
            ],
            configuration_index=numbers["ConfigurationIndex"],
        )
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ArchiveError(f"failed to read snapshot file: failed to decode snapshot metadata: {error}") from None


def _check_sums(sums: bytes, computed: dict[str, str]) -> None:
    prefix = "failed to read snapshot file: failed checking integrity of snapshot"
    seen = set()
    for line in sums.decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        if name not in (META, STATE):
            raise ArchiveError(f'{prefix}: list missing hash for "{name[:80]}"')
        if computed.get(name) != digest:
            raise ArchiveError(f'{prefix}: hash check failed for "{name}"')
        seen.add(name)
    for name in (META, STATE):
        if name not in seen:
            raise ArchiveError(f'{prefix}: file missing for "{name}"')


_GZIP_HEADER = 10
"""Bytes of a gzip header without a name."""


def _damaged_at(packed: bytes) -> int:
    """How many bytes of a gzip stream's beginning can be read before something is amiss; 0 if it is no beginning."""
    unpacker = zlib.decompressobj(wbits=31)
    for at in range(min(len(packed), 64 << 10)):
        try:
            unpacker.decompress(packed[at : at + 1], 1 << 20)
        except zlib.error:
            return at + 1 if at >= _GZIP_HEADER else 0
    return 0


class _Gunzip:
    """Unpacks one or more gzip members, piece by piece, and refuses to unpack a little into very much."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._packed = 0
        self._unpacked = 0
        self._buffer = b""
        self._unpacker = zlib.decompressobj(wbits=31)
        self._begun = False
        self._ended = False

    def upto(self, size: int) -> bytes:
        """`size` bytes, or fewer at the end."""
        while len(self._buffer) < size and self._more():
            pass
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def exactly(self, size: int) -> bytes:
        """`size` bytes; raises ArchiveError when there are fewer."""
        taken = self.upto(size)
        if len(taken) < size:
            raise ArchiveError("failed to read snapshot file: failed reading snapshot: unexpected EOF")
        return taken

    def copy(self, size: int, write: Callable[[bytes], int]) -> None:
        """Hand on `size` bytes in pieces; raises ArchiveError when there are fewer."""
        while size:
            taken = self.exactly(min(size, _CHUNK))
            write(taken)
            size -= len(taken)

    def count_rest(self) -> int:
        """How many bytes are left."""
        left = 0
        while taken := self.upto(_CHUNK):
            left += len(taken)
        return left

    def _refused(self, reason: str, packed: bytes) -> ArchiveError:
        """Why `packed` cannot be unpacked: it is no gzip, or what is in it was damaged."""
        if "incorrect header" in reason:
            text = "unexpected EOF" if self._begun else "gzip: invalid header"
            return ArchiveError(f"failed to decompress snapshot: {text}")
        if "incorrect data check" in reason or "incorrect length check" in reason:
            text = "gzip: invalid checksum"
        else:
            text = f"flate: corrupt input before offset {max(0, self._packed + _damaged_at(packed) - _GZIP_HEADER)}"
        return ArchiveError(f"failed to read snapshot file: failed reading snapshot: {text}")

    def _more(self) -> bool:
        """Unpack one more piece into the buffer; False at the end of the source."""
        if self._ended:
            return False
        packed = self._unpacker.unconsumed_tail or self._unpacker.unused_data or self._source.read(64 << 10)
        if not packed:
            if not self._begun:
                raise ArchiveError("failed to decompress snapshot: EOF")
            if not self._unpacker.eof:
                raise ArchiveError("failed to read snapshot file: failed reading snapshot: unexpected EOF")
            self._ended = True
            return False
        if self._unpacker.eof:
            self._unpacker = zlib.decompressobj(wbits=31)
        try:
            piece = self._unpacker.decompress(packed, _CHUNK)
        except zlib.error as error:
            raise self._refused(str(error), packed) from None
        self._begun = True
        self._packed += len(packed) - len(self._unpacker.unconsumed_tail) - len(self._unpacker.unused_data)
        self._unpacked += len(piece)
        if self._unpacked > FREE_EXPANSION + self._packed * MAX_EXPANSION:
            raise ArchiveError("failed to decompress snapshot: it unpacks into far more than a snapshot holds")
        self._buffer += piece
        return True
