"""Addresses in configuration: literal ones, and templates that name an address of this host."""

import ipaddress
import re
import socket

from agent.config.settings import ConfigError


def address_of(key: str, text: str) -> str:
    """One address; templates that name a kind of interface address are resolved. Raises ConfigError."""
    text = text.strip()
    template = re.fullmatch(r"\{\{\s*(GetPrivateIP|GetPublicIP)\s*\}\}", text)
    if template:
        return own_address()
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ConfigError(f"{key}: failed to parse address {text!r}: it is no IP address") from None


def own_address() -> str:
    """The address from which this host would reach others (nothing is sent)."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
    finally:
        probe.close()


def addresses_of(key: str, text: str, default: list[str]) -> list[str]:
    words = text.split()
    if not words:
        return default
    return [word if word.startswith("unix://") else address_of(key, word) for word in words]
