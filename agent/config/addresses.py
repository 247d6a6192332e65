"""Addresses in configuration: literal ones, and templates that choose among the addresses of this host."""

import functools
import ipaddress
import socket

from agent.config import interfaces
from agent.config.interfaces import InterfaceAddress
from agent.config.settings import ConfigError
from agent.config.template import TemplateError, is_template, render

ANY = ("0.0.0.0", "::")


@functools.lru_cache(1)
def _hosts() -> tuple[InterfaceAddress, ...]:
    return tuple(interfaces.this_hosts())


def rendered(key: str, text: str) -> str:
    """A text with its templates replaced. Raises ConfigError."""
    if not is_template(text):
        return text
    try:
        return render(text, _hosts())
    except TemplateError as error:
        raise ConfigError(f"{key}: unable to parse address template {text!r}: {error}") from None


def address_of(key: str, text: str) -> str:
    """One address; a template must resolve to exactly one. Raises ConfigError."""
    words = rendered(key, text).split()
    if is_template(text) and not words:
        raise ConfigError(f"{key}: no addresses found, please configure one with {key!r}: {text!r} gives none")
    if is_template(text) and len(words) > 1:
        raise ConfigError(f"{key}: multiple addresses found, please configure one: {' '.join(words)}")
    try:
        return str(ipaddress.ip_address((words[0] if len(words) == 1 else text).strip("[]")))
    except ValueError:
        raise ConfigError(f"{key}: failed to parse address {text!r}: it is no IP address") from None


def addresses_of(key: str, text: str, default: list[str]) -> list[str]:
    """Any number of addresses and `unix://` paths, separated by blanks; each of them once. Raises ConfigError."""
    words = rendered(key, text).split()
    if not words:
        if text.strip():
            raise ConfigError(f"{key}: no addresses found: {text!r} gives none")
        return default
    return list(dict.fromkeys(word if word.startswith("unix://") else address_of(key, word) for word in words))


def places_of(key: str, texts: list[str]) -> list[str]:
    """Addresses or names to join, templates replaced by all that they give. Raises ConfigError.

    What `provider=...` (cloud auto-join) or `exec=...` would find out is refused: it needs a cloud's own API.
    """
    found = []
    for text in texts:
        words = [text] if not is_template(text) else rendered(key, text).split()
        if not words:
            raise ConfigError(f"{key}: no addresses found: {text!r} gives none")
        for word in words:
            problem = _no_place(word)
            if problem:
                raise ConfigError(f"{key}: {word!r} {problem}")
            found.append(word.strip())
    return found


def _no_place(text: str) -> str:
    """Why a text is no place to join; "" if it may be one."""
    name, _, value = text.strip().partition("=")
    if name == "provider" or " provider=" in text:
        cloud = value.split()[0] if value.split() else "?"
        return f"asks for cloud auto-join (provider {cloud}), which lictor does not have: name addresses or DNS names"
    if "=" in text:
        return "is no address: lictor runs no command and asks no cloud to find agents to join"
    if not text.strip() or len(text) > 255 or any(character.isspace() for character in text.strip()):
        return "is neither an address nor a name"
    return ""


def address_to_advertise(bind: str) -> str:
    """What others reach this host by when it binds to all addresses (`bind` is 0.0.0.0 or ::). Raises ConfigError.

    Of IPv4 the only private address, of IPv6 the only public one, as in Consul; where there is none, the address from
    which this host reaches others.
    """
    version, kind = (6, "public") if bind == "::" else (4, "private")
    found = {
        str(one.ip) for one in _hosts() if one.ip.version == version and (one.public if version == 6 else one.private)
    }
    if len(found) > 1:
        listed = ", ".join(sorted(found))
        raise ConfigError(
            f"Multiple {kind} IPv{version} addresses found ({listed}). "
            "Please configure one with 'bind' and/or 'advertise'."
        )
    return found.pop() if found else own_address(version)


def own_address(version: int = 4) -> str:
    """The address from which this host would reach others (nothing is sent)."""
    family, target, loopback = (
        (socket.AF_INET6, "2001:db8::1", "::1") if version == 6 else (socket.AF_INET, "192.0.2.1", "127.0.0.1")
    )
    probe = socket.socket(family, socket.SOCK_DGRAM)
    try:
        probe.connect((target, 9))
        return str(probe.getsockname()[0])
    except OSError:
        return loopback
    finally:
        probe.close()
