"""`login` and `logout`: tokens for identities of other systems."""

import contextlib
import os
from pathlib import Path

from agent.cli.client import Api, Problem
from agent.cli.flags import Flags, fail, too_many
from model.goerrors import go_text

MAX_CREDENTIAL = 1 << 20
TYPES = ("", "jwt", "kubernetes", "aws-iam", "aws")
"""What -type may be; logins of type oidc are a feature of Consul Enterprise."""


def login(flags: Flags) -> int:
    """Trade a credential for a token, which goes into a file."""
    problem = too_many(flags)
    if problem:
        return fail(problem)
    if flags["type"] not in TYPES:
        return fail(f"Invalid -type {flags['type']!r}: known are {', '.join(TYPES[1:])}")
    for name in ("method", "token-sink-file"):
        if not flags[name]:
            return fail(f"Missing required '-{name}' flag")
    credential = _credential(flags)
    body = {"AuthMethod": flags["method"], "BearerToken": credential, "Meta": flags["meta"]}
    token = Api(flags).call("POST", "/v1/acl/login", body=body)
    sink = Path(flags["token-sink-file"])
    try:
        _write_secret(sink, token["SecretID"])
    except OSError as error:
        return fail(f"Error writing token to file sink: {go_text(error)}")
    return 0


def _credential(flags: Flags) -> str:
    """What is shown to the auth method. Raises Problem."""
    from agent.cli.aws import FLAGS, bearer_token

    file = flags["bearer-token-file"]
    if flags["aws-auto-bearer-token"]:
        if file:
            raise Problem("Cannot use '-bearer-token-file' flag with '-aws-auto-bearer-token'")
        return bearer_token(flags)
    if any(flags[name] for name in FLAGS):
        raise Problem("Missing '-aws-auto-bearer-token' flag")
    if not file:
        raise Problem("Missing required '-bearer-token-file' flag")
    try:
        found = Path(file).read_bytes()[:MAX_CREDENTIAL].decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"Error reading bearer token file: {go_text(error)}") from None
    if not found:
        raise Problem(f"No bearer token found in {file}")
    return found


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
    problem = too_many(flags)
    if problem:
        return fail(problem)
    Api(flags).call("POST", "/v1/acl/logout")
    return 0
