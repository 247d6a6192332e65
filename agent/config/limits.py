"""The `limits` and `unix_sockets` stanzas."""

import grp
import pwd
import re

from agent.config.reader import Reader
from agent.config.settings import ConfigError, Limits, UnixSockets


def limits(read: Reader) -> Limits:
    """The limits for connections and their opening. Raises ConfigError that names the key."""
    default = Limits()
    found = Limits(
        http_max_conns_per_client=read.number("http_max_conns_per_client", default.http_max_conns_per_client),
        https_handshake_timeout=read.seconds("https_handshake_timeout", default.https_handshake_timeout),
        rpc_client_timeout=read.seconds("rpc_client_timeout", default.rpc_client_timeout),
        rpc_handshake_timeout=read.seconds("rpc_handshake_timeout", default.rpc_handshake_timeout),
        rpc_max_conns_per_client=read.number("rpc_max_conns_per_client", default.rpc_max_conns_per_client),
    )
    for name in Limits.__struct_fields__:
        value = getattr(found, name)
        if value < 0:
            raise ConfigError(f"limits.{name} cannot be negative: {value:g}")
    for name in ("https_handshake_timeout", "rpc_client_timeout", "rpc_handshake_timeout"):
        if getattr(found, name) == 0:
            raise ConfigError(f"limits.{name} cannot be 0: there has to be an end")
    return found


def unix_sockets(read: Reader) -> UnixSockets:
    """Owner and mode of unix sockets. Raises ConfigError that names the key."""
    mode = read.text("mode")
    if mode and not re.fullmatch(r"0?[0-7]{1,4}", mode):
        raise ConfigError(f"unix_sockets.mode: {mode!r} is no octal file mode such as 0700")
    return UnixSockets(
        user=_id("user", read.text("user")), group=_id("group", read.text("group")), mode=int(mode, 8) if mode else None
    )


def _id(key: str, text: str) -> int | None:
    """A number, or a name that this host knows."""
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 10:
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid if key == "user" else grp.getgrnam(text).gr_gid
    except KeyError:
        raise ConfigError(f"unix_sockets.{key}: this host has no {key} {text!r}") from None
