"""`config`: configuration entries."""

import json
import sys
from pathlib import Path
from typing import Any

from agent.cli.client import Api, Problem
from agent.cli.flags import Flags, fail
from model.goerrors import go_text

MAX_INPUT = 1 << 24
"""Bytes of an entry's file at most."""


def _parse(name: str) -> dict[str, Any]:
    from model.config_json import HclError
    from model.hcl import parse_hcl

    try:
        raw = sys.stdin.buffer.read(MAX_INPUT + 1) if name == "-" else Path(name).read_bytes()
        if len(raw) > MAX_INPUT:
            raise Problem(f"Failed to load {name}: it is larger than {MAX_INPUT} bytes")
        return parse_hcl(raw.decode())
    except (OSError, ValueError, RecursionError, HclError) as error:
        raise Problem(f"Failed to load {name}: {go_text(error)}") from None


_ONLY_NAMES = {"mesh": "mesh", "proxy-defaults": "global"}
"""Names of entries of which there is only one, so that files may leave them out."""


def _kind_and_name(body: dict[str, Any]) -> tuple[str, str]:
    fields = {key.lower(): value for key, value in body.items()}
    kind = str(fields.get("kind") or "")
    return kind, str(fields.get("name") or _ONLY_NAMES.get(kind, ""))


def write(flags: Flags) -> int:
    """Write an entry."""
    if len(flags.arguments) != 1:
        return fail("Must provide exactly one positional argument to specify the config entry to write")
    body = _parse(flags.arguments[0])
    params = {"cas": str(flags["modify-index"])} if flags["cas"] else None
    done = Api(flags).call("PUT", "/v1/config", params, body)
    kind, name = _kind_and_name(body)
    if not done:
        return fail(f"Config entry not updated: {kind}/{name}")
    print(f"Config entry written: {kind}/{name}")
    return 0


def read(flags: Flags) -> int:
    """Show an entry."""
    if not flags["kind"]:
        return fail("Must specify the -kind parameter")
    if not flags["name"]:
        return fail("Must specify the -name parameter")
    found = Api(flags).get(f"/v1/config/{flags['kind']}/{flags['name']}")
    for path in found.get("Expose", {}).get("Paths") or ():
        path.setdefault("ParsedFromCheck", False)
    first = {key: found[key] for key in ("Kind", "Name") if key in found}
    print(json.dumps(first | found, indent=4, ensure_ascii=False))
    return 0


def list_entries(flags: Flags) -> int:
    """List the names of a kind's entries."""
    if not flags["kind"]:
        return fail("Must specify the -kind parameter")
    for entry in Api(flags).get(f"/v1/config/{flags['kind']}"):
        print(entry.get("Name", "mesh"))
    return 0


def delete(flags: Flags) -> int:
    """Remove an entry."""
    kind, name = flags["kind"], flags["name"]
    if flags["filename"]:
        if kind or name:
            return fail("Must specify either -filename, or -kind and -name, not both")
        body = _parse(flags["filename"])
        kind, name = _kind_and_name(body)
    if not kind:
        return fail("Must specify the -kind parameter")
    if not name:
        return fail("Must specify the -name parameter")
    if flags["cas"] and not flags["modify-index"]:
        return fail("Must specify a -modify-index greater than 0 with -cas")
    if flags["modify-index"] and not flags["cas"]:
        return fail("Cannot specify -modify-index without -cas")
    params = {"cas": str(flags["modify-index"])} if flags["cas"] else None
    if Api(flags).call("DELETE", f"/v1/config/{kind}/{name}", params) is False:
        return fail(f"Config entry not deleted: {kind}/{name}")
    print(f"Config entry deleted: {kind}/{name}")
    return 0
