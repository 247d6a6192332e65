"""`snapshot save|restore|inspect`: the cluster's whole state as one file."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import IO, BinaryIO

import msgpack

from agent.cli.client import Api, Problem, refusal
from agent.cli.flags import Flags, fail, too_many
from model.commands import CommandType
from model.goerrors import go_text
from server.snapshot_archive import MAX_META, ArchiveError, ArchiveMeta, read_archive

CHUNK = 1 << 20

NAMES = {
    CommandType.REGISTER: "Register",
    CommandType.KVS: "KVS",
    CommandType.SESSION: "Session",
    CommandType.LEGACY_ACL: "ACL",
    CommandType.TOMBSTONE: "Tombstone",
    CommandType.COORDINATES: "CoordinateBatchUpdate",
    CommandType.PREPARED_QUERY: "PreparedQuery",
    CommandType.AUTOPILOT: "Autopilot",
    CommandType.ACL_BOOTSTRAP: "ACLBootstrap",
    CommandType.INTENTION: "Intention",
    CommandType.CONNECT_CA: "ConnectCA",
    CommandType.CA_PROVIDER_STATE: "ConnectCAProviderState",
    CommandType.CA_CONFIG: "ConnectCAConfig",
    CommandType.INDEX: "Index",
    CommandType.ACL_TOKEN: "ACLToken",
    CommandType.ACL_POLICY: "ACLPolicy",
    CommandType.CONFIG_ENTRY: "ConfigEntry",
    CommandType.ACL_ROLE: "ACLRole",
    CommandType.ACL_BINDING_RULE: "ACLBindingRule",
    CommandType.ACL_AUTH_METHOD: "ACLAuthMethod",
    CommandType.CHUNKING: "ChunkingState",
    CommandType.FEDERATION_STATE: "FederationState",
    CommandType.SYSTEM_METADATA: "SystemMetadata",
    CommandType.SERVICE_VIRTUAL_IP: "ServiceVirtualIP",
    CommandType.FREE_VIRTUAL_IP: "FreeVirtualIP",
    CommandType.PEERING: "PeeringWrite",
    CommandType.PEERING_TRUST_BUNDLE: "PeeringTrustBundleWrite",
    CommandType.PEERING_SECRET: "PeeringSecretsWrite",
}


def save(flags: Flags) -> int:
    """Save; the file gets its name only once it has been read back and found whole."""
    file = _one_file(flags)
    unverified = file.with_name(file.name + ".unverified")
    with Api(flags).open("GET", "/v1/snapshot") as answer:
        if answer.status != 200:
            raise refusal(answer.status, answer.read())
        try:
            with open(unverified, "wb", opener=_for_its_owner) as target:
                shutil.copyfileobj(answer, target, CHUNK)
                target.flush()
                os.fsync(target.fileno())
        except OSError as error:
            return fail(f"Error creating snapshot file: {go_text(error)}")
    try:
        with unverified.open("rb") as source:
            meta, state = read_archive(source)
            state.close()
    except ArchiveError as error:
        unverified.unlink()
        return fail(f"Error verifying snapshot file: {error}")
    os.replace(unverified, file)
    print(f"Saved and verified snapshot to index {meta.index}")
    return 0


def _for_its_owner(path: str, flags: int) -> int:
    """Open a file that nobody else can read: a state holds tokens and the authority's key."""
    number = os.open(path, flags, 0o600)
    os.fchmod(number, 0o600)  # It may be there from an earlier attempt.
    return number


def restore(flags: Flags) -> int:
    """Put a file's state in the place of the cluster's."""
    file = _one_file(flags)
    try:
        source = file.open("rb")
    except OSError as error:
        return fail(f"Error opening snapshot file: {go_text(error)}")
    with source:
        status, answer, _ = Api(flags).request("PUT", "/v1/snapshot", {}, source)
    if status != 200:
        raise refusal(status, answer)
    print("Restored snapshot")
    return 0


def inspect(flags: Flags) -> int:
    """Show what a file holds, without an agent."""
    file = _one_file(flags)
    shape = flags["format"].lower()
    if shape not in ("pretty", "json"):
        return fail(f'Invalid format "{flags["format"]}": must be pretty or json')
    if not flags["kvdetails"] and flags["kvfilter"]:
        return fail("Error: -kvfilter needs -kvdetails")
    if flags["kvdepth"] < 1:
        return fail("Error: -kvdepth must be at least 1")
    keys = Keys(flags["kvdepth"], flags["kvfilter"]) if flags["kvdetails"] else None
    try:
        with file.open("rb") as source:
            meta, state = _opened(file, source)
            with state:
                tally = count_records(state, keys)  # type: ignore[arg-type]
    except OSError as error:
        return fail(f"Error opening snapshot file: {go_text(error)}")
    except (ArchiveError, ValueError) as error:
        return fail(f"Error extracting snapshot data: {error}")
    if shape == "json":
        print(json.dumps(_described(meta, tally, keys), indent=3))
        return 0
    head = [("ID", meta.id), ("Size", meta.size), ("Index", meta.index), ("Term", meta.term), ("Version", meta.version)]
    print("\n".join(f" {name:<12} {value}" for name, value in head) + "\n")
    _print_table("Type", tally)
    if keys is not None:
        print()
        _print_table("Key Name", keys.tally)
    return 0


class Tally:
    """How many records there are of each name, and their bytes."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()

    def add(self, name: str, size: int) -> None:
        """Count a record."""
        self.counts[name] += 1
        self.sizes[name] += size

    def names(self) -> list[str]:
        """The names, those that take most room first."""
        return sorted(self.counts, key=lambda name: (-self.sizes[name], name))

    def rows(self) -> list[dict[str, object]]:
        """The tally as it is shown in JSON."""
        return [{"Name": name, "Sum": self.sizes[name], "Count": self.counts[name]} for name in self.names()]


class Keys:
    """Counts keys in groups that have the first `depth` parts in common, if they begin with `prefix`."""

    def __init__(self, depth: int, prefix: str) -> None:
        self.tally = Tally()
        self._depth = depth
        self._prefix = prefix

    def add(self, key: str, size: int) -> None:
        """Count a key."""
        if key.startswith(self._prefix):
            self.tally.add("/".join(key.split("/")[: self._depth]), size)


def _opened(file: Path, source: BinaryIO) -> tuple[ArchiveMeta, IO[bytes]]:
    """What a file says of itself, and its records. Raises OSError, ArchiveError, ValueError."""
    if file.name != "state.bin":
        return read_archive(source)
    beside = file.with_name("meta.json")
    found = json.loads(beside.read_bytes()[:MAX_META])
    try:
        meta = ArchiveMeta(
            int(found["Index"]), int(found["Term"]), int(found["Size"]), int(found["Version"]), str(found["ID"])
        )
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{beside} does not describe a snapshot") from None
    return meta, source


def _print_table(title: str, tally: Tally) -> None:
    names = tally.names()
    width = max([20, *map(len, names)])
    line = f" {'----':<{width}} {'----':<10} ----"
    print(f" {title:<{width}} {'Count':<10} Size\n{line}")
    for name in names:
        print(f" {name:<{width}} {tally.counts[name]:<10} {readable(tally.sizes[name])}")
    print(f"{line}\n {'Total':<{width}} {'':<10} {readable(sum(tally.sizes.values()))}")


def _described(meta: ArchiveMeta, tally: Tally, keys: Keys | None) -> dict[str, object]:
    shown: dict[str, object] = {
        "Meta": {"ID": meta.id, "Size": meta.size, "Index": meta.index, "Term": meta.term, "Version": meta.version},
        "Stats": tally.rows(),
        "TotalSize": sum(tally.sizes.values()),
    }
    if keys is not None:
        shown |= {"StatsKV": keys.tally.rows(), "TotalSizeKV": sum(keys.tally.sizes.values())}
    return shown


def _one_file(flags: Flags) -> Path:
    """The file that is named. Raises Problem."""
    if not flags.arguments:
        raise Problem("Missing FILE argument")
    problem = too_many(flags, 1)
    if problem:
        raise Problem(problem)
    if not flags.arguments[0] or "\0" in flags.arguments[0] or not Path(flags.arguments[0]).name:
        raise Problem(f"Error: {flags.arguments[0]!r} is not the name of a file")
    return Path(flags.arguments[0])


def count_records(state: BinaryIO, keys: Keys | None = None) -> Tally:
    """Count the records of each type in a state, and its keys. Raises ValueError when it is not one."""
    tally = Tally()
    unpacker = msgpack.Unpacker(state, raw=True, strict_map_key=False, max_buffer_size=1 << 30)
    try:
        unpacker.skip()  # The header.
        while True:
            begin = unpacker.tell()
            try:
                kind = unpacker.unpack()
            except msgpack.OutOfData:
                return tally
            if keys is not None and kind == CommandType.KVS:
                row = unpacker.unpack()
                keys.add(bytes(row[b"Key"]).decode("utf-8", "replace"), unpacker.tell() - begin)
            else:
                unpacker.skip()
            tally.add(NAMES.get(kind, f"Unknown({kind})"), unpacker.tell() - begin)
    except msgpack.OutOfData:
        raise ValueError("the state is cut short in the middle of a record") from None
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the state holds something that is no record: {error}") from None


def readable(size: int) -> str:
    """A number of bytes for people: 484B, 3.1KB."""
    for unit, factor in (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= factor:
            number = f"{size / factor:.1f}"
            return (number[:-2] if number.endswith(".0") else number) + unit
    return f"{size}B"
