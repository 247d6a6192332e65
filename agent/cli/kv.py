"""`kv`."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from agent.cli.client import Api, ApiError
from agent.cli.flags import Flags, fail


def _key(flags: Flags, verb: str, optional: bool = False) -> str:
    if len(flags.arguments) > 1:
        raise ApiError(f"Too many arguments (expected 1, got {len(flags.arguments)})")
    if not flags.arguments:
        if optional:
            return ""
        raise ApiError("Missing KEY argument")
    key = flags.arguments[0]
    if key.startswith("/"):
        print("Warning: keys should not begin with a slash", file=sys.stderr)
        key = key[1:]
    return key


def _pairs(api: Api, prefix: str) -> list[dict[str, Any]]:
    status, body, _ = api.request("GET", f"/v1/kv/{prefix}", {"recurse": True})
    if status == 404:
        return []
    if status != 200:
        raise ApiError(f"Unexpected response code: {status} ({body.decode('utf-8', 'replace')})")
    found: list[dict[str, Any]] = json.loads(body)
    return found


def _value(pair: dict[str, Any]) -> bytes:
    return base64.b64decode(pair["Value"] or "")


def _detailed(pair: dict[str, Any], as_base64: bool) -> str:
    value = pair["Value"] or "" if as_base64 else _value(pair).decode("utf-8", "replace")
    session = pair.get("Session") or "-"
    rows = [
        ("CreateIndex", pair["CreateIndex"]),
        ("Flags", pair["Flags"]),
        ("Key", pair["Key"]),
        ("LockIndex", pair["LockIndex"]),
        ("ModifyIndex", pair["ModifyIndex"]),
        ("Session", session),
        ("Value", value),
    ]
    return "\n".join(f"{name:<16} {item}" for name, item in rows)


def get(flags: Flags) -> int:
    """Show a key, or what is below it."""
    key = _key(flags, "get", optional=flags["keys"] or flags["recurse"])
    api = Api(flags)
    if flags["keys"]:
        status, body, _ = api.request("GET", f"/v1/kv/{key}", {"keys": True, "separator": flags["separator"]})
        for name in json.loads(body) if status == 200 else []:
            print(name)
        return 0
    if flags["recurse"]:
        pairs = _pairs(api, key)
        for number, pair in enumerate(pairs):
            if flags["detailed"]:
                print(_detailed(pair, flags["base64"]) + ("\n" if number < len(pairs) - 1 else ""))
            else:
                shown = pair["Value"] or "" if flags["base64"] else _value(pair).decode("utf-8", "replace")
                print(f"{pair['Key']}:{shown}")
        return 0
    status, body, _ = api.request("GET", f"/v1/kv/{key}")
    if status == 404:
        return fail(f"Error! No key exists at: {key}")
    if status != 200:
        return fail(f"Error querying Consul agent: Unexpected response code: {status} ({body.decode()})")
    pair = json.loads(body)[0]
    if flags["detailed"]:
        print(_detailed(pair, flags["base64"]))
    elif flags["base64"]:
        print(pair["Value"] or "")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(_value(pair) + b"\n")
    return 0


def _data(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            raise ApiError(f"Failed to read file: {error}") from None
    return text.encode("utf-8", "surrogateescape")


def put(flags: Flags) -> int:
    """Write a key."""
    if not flags.arguments:
        return fail("Error! Missing KEY argument")
    if len(flags.arguments) > 2:
        return fail(f"Error! Too many arguments (expected 2, got {len(flags.arguments)})")
    key = flags.arguments[0]
    if not key:
        return fail("Error! Missing KEY argument")
    key = key[1:] if key.startswith("/") else key
    data = _data(flags.arguments[1]) if len(flags.arguments) == 2 else b""
    if flags["base64"]:
        try:
            data = base64.b64decode(data, validate=True)
        except ValueError:
            return fail("Error! Cannot base 64 decode data")
    if (flags["acquire"] or flags["release"]) and not flags["session"]:
        return fail("Error! Missing -session (required with -acquire and -release)")
    params: dict[str, Any] = {"flags": flags["flags"] or None}
    failure = "Success! Data written to"
    if flags["cas"]:
        params["cas"] = str(flags["modify-index"])
    elif flags["acquire"]:
        params["acquire"], failure = flags["session"], "Success! Lock acquired on"
    elif flags["release"]:
        params["release"], failure = flags["session"], "Success! Lock released on"
    done = Api(flags).call("PUT", f"/v1/kv/{key}", params, data)
    if not done:
        if flags["cas"]:
            return fail("Error! Did not write to " + key + ": CAS failed")
        return fail(f"Error! Did not {'acquire lock' if flags['acquire'] else 'release lock'}: {key}")
    print(f"{failure}: {key}")
    return 0


def delete(flags: Flags) -> int:
    """Remove a key, or everything below it."""
    key = _key(flags, "delete")
    if not key and not flags["recurse"]:
        return fail("Error! Missing KEY argument")
    if flags["recurse"] and flags["cas"]:
        return fail("Cannot specify both -cas and -recurse!")
    if flags["cas"] and not flags["modify-index"]:
        return fail("Must specify -modify-index with -cas!")
    params: dict[str, Any] = {"recurse": flags["recurse"]}
    if flags["cas"]:
        params["cas"] = str(flags["modify-index"])
    done = Api(flags).call("DELETE", f"/v1/kv/{key}", params)
    if not done:
        return fail(f"Error! Did not delete key {key}: CAS failed")
    print(f"Success! Deleted keys with prefix: {key}" if flags["recurse"] else f"Success! Deleted key: {key}")
    return 0


def export(flags: Flags) -> int:
    """Write keys as JSON."""
    key = _key(flags, "export", optional=True)
    rows = [
        {"key": pair["Key"], "flags": pair["Flags"], "value": pair["Value"] or ""} for pair in _pairs(Api(flags), key)
    ]
    print(json.dumps(rows, indent="\t", ensure_ascii=False))
    return 0


def import_(flags: Flags) -> int:
    """Write keys from JSON: the argument, a file (@name), or standard input (-)."""
    if len(flags.arguments) != 1:
        return fail("Error! Missing DATA argument" if not flags.arguments else "Too many arguments")
    try:
        rows = json.loads(_data(flags.arguments[0]))
        pairs = [(row["key"], int(row.get("flags", 0)), base64.b64decode(row.get("value") or "")) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        return fail(f"Cannot unmarshal data: {error}")
    api = Api(flags)
    for key, number, value in pairs:
        name = f"{flags['prefix'].rstrip('/')}/{key}" if flags["prefix"] else key
        api.call("PUT", f"/v1/kv/{name}", {"flags": number or None}, value)
        print(f"Imported: {name}")
    return 0
