"""`snapshot save|restore|inspect`: the cluster's whole state as one file."""

import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import msgpack

from agent.cli.client import Api, ApiError
from agent.cli.flags import Flags, fail
from model.commands import CommandType
from server.snapshot_archive import ArchiveError, ArchiveMeta, read_archive

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
    if isinstance(file, str):
        return fail(file)
    status, archive, _ = Api(flags).request("GET", "/v1/snapshot", {})
    if status != 200:
        raise ApiError(f"Error saving snapshot: {archive.decode('utf-8', 'replace').strip()}", status)
    unverified = file.with_name(file.name + ".unverified")
    try:
        with unverified.open("wb") as target:
            target.write(archive)
            target.flush()
            os.fsync(target.fileno())
    except OSError as error:
        return fail(f"Error creating snapshot file: {unverified}: {error.strerror}")
    try:
        meta, state = read_archive(io.BytesIO(archive))
        state.close()
    except ArchiveError as error:
        unverified.unlink()
        return fail(f"Error verifying snapshot file: {error}")
    os.replace(unverified, file)
    print(f"Saved and verified snapshot to index {meta.index}")
    return 0


def restore(flags: Flags) -> int:
    """Put a file's state in the place of the cluster's."""
    file = _one_file(flags)
    if isinstance(file, str):
        return fail(file)
    try:
        archive = file.read_bytes()
    except OSError as error:
        return fail(f"Error opening snapshot file: {file}: {error.strerror}")
    status, answer, _ = Api(flags).request("PUT", "/v1/snapshot", {}, archive)
    if status != 200:
        text = answer.decode("utf-8", "replace").strip()
        raise ApiError(f"Error restoring snapshot: Unexpected response code: {status} ({text})", status)
    print("Restored snapshot")
    return 0


def inspect(flags: Flags) -> int:
    """Show what a file holds, without an agent."""
    file = _one_file(flags)
    if isinstance(file, str):
        return fail(file)
    if flags["format"] not in ("pretty", "json"):
        return fail(f'Invalid format "{flags["format"]}": must be pretty or json')
    try:
        with file.open("rb") as source:
            meta, state = read_archive(source)
            with state:
                counts, sizes = count_records(state)  # type: ignore[arg-type]
    except OSError as error:
        return fail(f"Error opening snapshot file: {file}: {error.strerror}")
    except (ArchiveError, ValueError) as error:
        return fail(f"Error extracting snapshot data: {error}")
    rows = sorted(counts, key=lambda name: (-sizes[name], name))
    if flags["format"] == "json":
        print(json.dumps(_described(meta, rows, counts, sizes), indent=3))
        return 0
    head = [("ID", meta.id), ("Size", meta.size), ("Index", meta.index), ("Term", meta.term), ("Version", meta.version)]
    print("\n".join(f" {name:<12} {value}" for name, value in head) + "\n")
    print(f" {'Type':<20} {'Count':<10} Size\n {'----':<20} {'----':<10} ----")
    for name in rows:
        print(f" {name:<20} {counts[name]:<10} {readable(sizes[name])}")
    print(f" {'----':<20} {'----':<10} ----\n {'Total':<20} {'':<10} {readable(sum(sizes.values()))}")
    return 0


def _described(meta: ArchiveMeta, rows: list[str], counts: Counter[str], sizes: Counter[str]) -> dict[str, object]:
    stats = [{"Name": name, "Sum": sizes[name], "Count": counts[name]} for name in rows]
    return {
        "Meta": {"ID": meta.id, "Size": meta.size, "Index": meta.index, "Term": meta.term, "Version": meta.version},
        "Stats": stats,
        "TotalSize": sum(sizes.values()),
    }


def _one_file(flags: Flags) -> Path | str:
    """The file that is named, or what is wrong with the arguments."""
    if not flags.arguments:
        return "Missing FILE argument"
    if len(flags.arguments) > 1:
        return f"Too many arguments (expected 1, got {len(flags.arguments)})"
    return Path(flags.arguments[0])


def count_records(state: BinaryIO) -> tuple[Counter[str], Counter[str]]:
    """How many records of each type a state has, and their bytes. Raises ValueError when it is not one."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    unpacker = msgpack.Unpacker(state, raw=True, strict_map_key=False, max_buffer_size=1 << 30)
    try:
        unpacker.skip()  # The header.
        while True:
            begin = unpacker.tell()
            try:
                kind = unpacker.unpack()
            except msgpack.OutOfData:
                return counts, sizes
            unpacker.skip()
            name = NAMES.get(kind, f"Unknown({kind})")
            counts[name] += 1
            sizes[name] += unpacker.tell() - begin
    except msgpack.OutOfData:
        raise ValueError("the state is cut short in the middle of a record") from None
    except (msgpack.exceptions.UnpackException, ValueError, TypeError) as error:
        raise ValueError(f"the state holds something that is no record: {error}") from None


def readable(size: int) -> str:
    """A number of bytes for people: 484B, 3.1KB."""
    for unit, factor in (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= factor:
            number = f"{size / factor:.1f}"
            return (number[:-2] if number.endswith(".0") else number) + unit
    return f"{size}B"
