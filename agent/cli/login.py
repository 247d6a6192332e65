"""`login` and `logout`: tokens for identities of other systems."""

import contextlib
import os
from pathlib import Path

from agent.cli.client import Api, ApiError
from agent.cli.flags import Flags, fail

MAX_CREDENTIAL = 1 << 20


def pairs(texts: list[str], flag: str) -> dict[str, str]:
    """`key=value` texts as a map. Raises ApiError."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ApiError(f"Error: -{flag} takes key=value, not {text!r}")
        found[key] = value
    return found


def login(flags: Flags) -> int:
    """Trade a credential for a token, which goes into a file."""
    if flags.arguments:
        return fail(f"Should have no non-flag arguments (got {len(flags.arguments)})")
    if flags["type"] not in ("", "kubernetes", "jwt"):
        return fail(f"Invalid -type {flags['type']!r}: credentials of that type cannot be made here")
    for name in ("method", "token-sink-file", "bearer-token-file"):
        if not flags[name]:
            return fail(f"Missing required '-{name}' flag")
    try:
        credential = Path(flags["bearer-token-file"]).read_bytes()[:MAX_CREDENTIAL].decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        return fail(f"Error reading bearer token file: {error}")
    if not credential:
        return fail(f"No bearer token found in {flags['bearer-token-file']}")
    body = {"AuthMethod": flags["method"], "BearerToken": credential, "Meta": pairs(flags["meta"], "meta")}
    try:
        token = Api(flags).call("POST", "/v1/acl/login", body=body)
    except ApiError as error:
        return fail(f"Error logging in: {error}")
    sink = Path(flags["token-sink-file"])
    try:
        _write_secret(sink, token["SecretID"])
    except OSError as error:
        return fail(f"Error writing token to file sink: {sink}: {error.strerror}")
    return 0


def _write_secret(path: Path, text: str) -> None:
    """Put a secret into a file that only its owner can read; the file is whole or as it was. Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def logout(flags: Flags) -> int:
    """Destroy the token with which this is asked."""
    if flags.arguments:
        return fail(f"Should have no non-flag arguments (got {len(flags.arguments)})")
    try:
        Api(flags).call("POST", "/v1/acl/logout")
    except ApiError as error:
        return fail(f"Error destroying token: {error}")
    return 0
