"""`kv`."""

import base64
import binascii
import json
import sys
from pathlib import Path
from typing import Any

from agent.cli.client import Api, Problem, refusal
from agent.cli.flags import Flags, fail, too_many, write_bytes
from model.goerrors import go_text

MAX_INPUT = 1 << 29
"""Bytes that are read from a file or standard input at most."""


def _key(flags: Flags, optional: bool = False) -> str:
    """The key that is meant, without the slash that a path would begin with. Raises Problem."""
    problem = too_many(flags, 1)
    if problem:
        raise Problem(f"Error! {problem}")
    if not flags.arguments:
        if optional:
            return ""
        raise Problem("Error! Missing KEY argument")
    return flags.arguments[0].removeprefix("/")


def _ask(api: Api, key: str, params: dict[str, Any]) -> Any:
    """The rows that a question about keys is answered with; None when there are none. Raises ApiError."""
    status, body, _ = api.request("GET", f"/v1/kv/{key}", params)
    if status == 404:
        return None
    if status != 200:
        raise refusal(status, body)
    return json.loads(body)


def _shown(pair: dict[str, Any], as_base64: bool) -> bytes:
    text = pair["Value"] or ""
    return text.encode() if as_base64 else base64.b64decode(text)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _detailed(pair: dict[str, Any], as_base64: bool) -> bytes:
    rows = [(name, pair[name]) for name in ("CreateIndex", "Flags", "Key", "LockIndex", "ModifyIndex")]
    rows.append(("Session", pair.get("Session") or "-"))
    lines = [_raw(f"{name:<16} {item}\n") for name, item in rows]
    return b"".join([*lines, f"{'Value':<16} ".encode(), _shown(pair, as_base64), b"\n"])


def get(flags: Flags) -> int:
    """Show a key, or what is below it."""
    key = _key(flags, optional=flags["keys"] or flags["recurse"])
    api = Api(flags)
    if flags["keys"]:
        names = _ask(api, key, {"keys": True, "separator": flags["separator"]}) or []
        write_bytes(*(_raw(f"{name}\n") for name in names))
        return 0
    if flags["recurse"]:
        pairs = _ask(api, key, {"recurse": True}) or []
        if flags["detailed"]:
            write_bytes(b"\n".join(_detailed(pair, flags["base64"]) for pair in pairs))
        else:
            write_bytes(*(_raw(f"{pair['Key']}:") + _shown(pair, flags["base64"]) + b"\n" for pair in pairs))
        return 0
    if not key:
        return fail("Error! Missing KEY argument")
    found = _ask(api, key, {})
    if not found:
        return fail(f"Error! No key exists at: {key}")
    if flags["detailed"]:
        write_bytes(_detailed(found[0], flags["base64"]))
    else:
        write_bytes(_shown(found[0], flags["base64"]), b"\n")
    return 0


def _data(text: str) -> bytes:
    """What an argument stands for: itself, a file (@name), or standard input (-). Raises Problem."""
    if text == "-":
        data = sys.stdin.buffer.read(MAX_INPUT + 1)
    elif text.startswith("@"):
        try:
            with Path(text[1:]).open("rb") as file:
                data = file.read(MAX_INPUT + 1)
        except (OSError, ValueError) as error:
            raise Problem(f"Error! Failed to read file: {go_text(error)}") from None
    else:
        data = text.encode("utf-8", "surrogateescape")
    if len(data) > MAX_INPUT:
        raise Problem(f"Error! The data is larger than {MAX_INPUT} bytes")
    return data


def put(flags: Flags) -> int:
    """Write a key."""
    problem = too_many(flags, 2)
    if problem:
        return fail(f"Error! {problem}")
    key = flags.arguments[0] if flags.arguments else ""
    if not key:
        return fail("Error! Missing KEY argument")
    if key.startswith("/"):
        return fail(f"Error! Invalid key {key!r}: keys must not begin with a slash")
    if (flags["acquire"] or flags["release"]) and not flags["session"]:
        return fail("Error! Missing -session (required with -acquire and -release)")
    if flags["acquire"] and flags["release"]:
        return fail("Error! Only one of -acquire and -release can be given")
    data = _data(flags.arguments[1]) if len(flags.arguments) == 2 else b""
    if flags["base64"]:
        try:
            data = base64.b64decode(data.strip(), validate=True)
        except ValueError as error:
            return fail(f"Error! Cannot base 64 decode data: {error}")
    params: dict[str, Any] = {"flags": flags["flags"] or None}
    done, failed = "Data written to", f"Did not write to {key}"
    if flags["cas"]:
        params["cas"] = str(flags["modify-index"])
        failed = f"Did not write to {key}: CAS failed"
    elif flags["acquire"]:
        params["acquire"] = flags["session"]
        done, failed = "Lock acquired on", "Did not acquire lock"
    elif flags["release"]:
        params["release"] = flags["session"]
        done, failed = "Lock released on", "Did not release lock"
    if not Api(flags).call("PUT", f"/v1/kv/{key}", params, data):
        return fail(f"Error! {failed}")
    print(f"Success! {done}: {key}")
    return 0


def delete(flags: Flags) -> int:
    """Remove a key, or everything below it."""
    key = _key(flags, optional=flags["recurse"])
    if not key and not flags["recurse"]:
        return fail("Error! Missing KEY argument")
    if flags["recurse"] and flags["cas"]:
        return fail("Cannot specify both -cas and -recurse!")
    if flags["cas"] and not flags["modify-index"]:
        return fail("Must specify -modify-index with -cas!")
    if flags["modify-index"] and not flags["cas"]:
        return fail("Cannot specify -modify-index without -cas!")
    params: dict[str, Any] = {"recurse": flags["recurse"]}
    if flags["cas"]:
        params["cas"] = str(flags["modify-index"])
    if not Api(flags).call("DELETE", f"/v1/kv/{key}", params):
        return fail(f"Error! Did not delete key {key}: CAS failed")
    print(f"Success! Deleted keys with prefix: {key}" if flags["recurse"] else f"Success! Deleted key: {key}")
    return 0


def export(flags: Flags) -> int:
    """Write keys as JSON."""
    key = _key(flags, optional=True)
    if flags["format"] != "json":
        return fail(f"Unknown format {flags['format']!r}: it must be json")
    found = _ask(Api(flags), key, {"recurse": True}) or []
    rows = [{"key": pair["Key"], "flags": pair["Flags"], "value": pair["Value"] or ""} for pair in found]
    print(json.dumps(rows, indent="\t", ensure_ascii=False))
    return 0


def import_(flags: Flags) -> int:
    """Write keys from JSON: the argument, a file (@name), or standard input (-)."""
    from model.gojson import parse_json

    problem = too_many(flags, 1)
    if problem or not flags.arguments:
        return fail(f"Error! {problem or 'Missing DATA argument'}")
    try:
        document = parse_json(_data(flags.arguments[0]))
    except ValueError as error:
        return fail(f"Cannot unmarshal data: {error}")
    pairs = [_entry(number, row, flags["prefix"]) for number, row in enumerate(_listed(document))]
    api = Api(flags)
    for name, number, value in pairs:
        api.call("PUT", f"/v1/kv/{name}", {"flags": number or None}, value)
        print(f"Imported: {name}")
    return 0


def _listed(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise Problem("Cannot unmarshal data: it must be a list of objects with key, flags and value")
    return document


def _entry(number: int, row: Any, prefix: str) -> tuple[str, int, bytes]:
    """One key of an import with its flags and value. Raises Problem."""
    wrong = f"Cannot unmarshal data: entry {number}"
    if not isinstance(row, dict):
        raise Problem(f"{wrong} is no object")
    key, flags, value = row.get("key"), row.get("flags", 0), row.get("value", "") or ""
    if not isinstance(key, str) or not key:
        raise Problem(f"{wrong}: key must be a text that is not empty")
    if not isinstance(flags, int) or isinstance(flags, bool) or not 0 <= flags < 1 << 64:
        raise Problem(f"{wrong} ({key}): flags must be a number that is not negative")
    if not isinstance(value, str):
        raise Problem(f"{wrong} ({key}): value must be a text in base64")
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(f"{wrong} ({key}): value is no base64: {error}") from None
    return (f"{prefix.rstrip('/')}/{key}" if prefix else key), flags, content
