"""The agent's TLS settings: the `tls` stanza of Consul 1.12 and later, and the top-level keys that it replaced.

`tls.defaults` holds for every interface unless that says otherwise; a top-level key stands for a default, or for one
interface's setting, where the stanza has none. Files are not opened here: an agent does that when it starts, and again
when it reloads (`agent.tls`).
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from agent.config.flags import suggest
from agent.config.reader import Reader
from agent.config.schema import snake
from agent.config.settings import AutoEncrypt, ConfigError, TlsInterface, TlsSettings

DEPRECATED = {
    "ca_file": "tls.defaults.ca_file",
    "ca_path": "tls.defaults.ca_path",
    "cert_file": "tls.defaults.cert_file",
    "key_file": "tls.defaults.key_file",
    "tls_cipher_suites": "tls.defaults.tls_cipher_suites",
    "tls_min_version": "tls.defaults.tls_min_version",
    "verify_incoming": "tls.defaults.verify_incoming",
    "verify_incoming_https": "tls.https.verify_incoming",
    "verify_incoming_rpc": "tls.internal_rpc.verify_incoming",
    "verify_outgoing": "tls.defaults.verify_outgoing",
    "verify_server_hostname": "tls.internal_rpc.verify_server_hostname",
}
"""Top-level keys, and what stands for them now."""

VERSIONS = {"TLSv1_0": "tls10", "TLSv1_1": "tls11", "TLSv1_2": "tls12", "TLSv1_3": "tls13"}
"""The versions of `tls_min_version`, and how they were once spelt at the top level."""

_SHARED = ("ca_file", "ca_path", "cert_file", "key_file", "tls_min_version", "tls_cipher_suites", "verify_incoming")
_KNOWN = {
    "defaults": (*_SHARED, "verify_outgoing"),
    "grpc": (*_SHARED, "use_auto_cert"),
    "https": (*_SHARED, "verify_outgoing"),
    "internal_rpc": (*_SHARED, "verify_outgoing", "verify_server_hostname"),
}

CIPHERS = {
    **{
        f"TLS_{exchange}_WITH_AES_{size}_{mode}": f"{prefix}AES{size}-{suffix}"
        for exchange, prefix in (("RSA", ""), ("ECDHE_RSA", "ECDHE-RSA-"), ("ECDHE_ECDSA", "ECDHE-ECDSA-"))
        for size, mode, suffix in (
            (128, "CBC_SHA", "SHA"),
            (256, "CBC_SHA", "SHA"),
            (128, "CBC_SHA256", "SHA256"),
            (128, "GCM_SHA256", "GCM-SHA256"),
            (256, "GCM_SHA384", "GCM-SHA384"),
        )
    },
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""Cipher suites up to TLS 1.2 as the configuration names them, and OpenSSL's names. Broken ones (RC4, 3DES) are not
among them."""


def tls_settings(values: Mapping[str, Any]) -> TlsSettings:
    """The TLS settings in merged configuration. Raises ConfigError that names the key."""
    top = Reader(values)
    stanza = {snake(key): value for key, value in top.mapping("tls").items()}
    for name in stanza:
        if name not in _KNOWN:
            raise ConfigError(f"invalid config key tls.{name}{suggest(name, _KNOWN)}")
    sections = {name: _section(Reader(stanza, "tls."), name) for name in _KNOWN}
    defaults, rpc = sections["defaults"], sections["internal_rpc"]
    for key, path in DEPRECATED.items():
        if values.get(key) is None:
            continue
        _, section, name = path.split(".")
        value = _old_version(values[key]) if key == "tls_min_version" else values[key]
        sections[section].setdefault(name, value)
    hostname = Reader(rpc, "tls.internal_rpc.").flag("verify_server_hostname")
    if hostname:
        rpc.setdefault("verify_outgoing", True)
    found = {
        name: _interface(f"tls.{name}.", {**defaults, **sections[name]}, sections[name])
        for name in ("grpc", "https", "internal_rpc")
    }
    return TlsSettings(**found, verify_server_hostname=hostname, server_name=top.text("server_name"))


def auto_encrypt(read: Reader, server: bool) -> AutoEncrypt:
    """The `auto_encrypt` stanza. Raises ConfigError that names the key."""
    found = AutoEncrypt(read.flag("tls"), read.flag("allow_tls"), read.texts("dns_san"), read.texts("ip_san"))
    if found.tls and server:
        raise ConfigError("auto_encrypt.tls: a server has certificates of its own; only client agents can ask for one")
    if found.allow_tls and not server:
        raise ConfigError("auto_encrypt.allow_tls: only servers give certificates to others")
    for text in found.ip_san:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ConfigError(f"auto_encrypt.ip_san: {text!r} is no IP address") from None
    return found


def _section(stanza: Reader, name: str) -> dict[str, Any]:
    found = {snake(key): value for key, value in stanza.mapping(name).items() if value is not None}
    for key in found:
        if key not in _KNOWN[name]:
            raise ConfigError(f"invalid config key tls.{name}.{key}{suggest(key, _KNOWN[name])}")
    return found


def _old_version(value: Any) -> Any:
    """A version as it is spelt now; what is no version at all stays, to be refused by its name."""
    return next((new for new, old in VERSIONS.items() if value == old), value)


def _interface(where: str, merged: Mapping[str, Any], own: Mapping[str, Any]) -> TlsInterface:
    def path(key: str) -> str:
        return where if key in own else "tls.defaults."

    def text(key: str) -> str:
        return Reader(merged, path(key)).text(key)

    version = text("tls_min_version") or "TLSv1_2"
    if version not in VERSIONS:
        raise ConfigError(
            f'{path("tls_min_version")}tls_min_version: value "{version}" not supported, '
            f"please specify one of [{','.join(VERSIONS)}]"
        )
    suites = [name.strip() for name in text("tls_cipher_suites").split(",") if name.strip()]
    for name in suites:
        if name not in CIPHERS:
            problem = f"unsupported cipher suite {name}{suggest(name, CIPHERS)}"
            raise ConfigError(f"{path('tls_cipher_suites')}tls_cipher_suites: {problem}")
    certificate, key = text("cert_file"), text("key_file")
    if bool(certificate) != bool(key) and where != "tls.grpc.":  # Nothing is served there yet.
        given, missing = ("cert_file", "key_file") if certificate else ("key_file", "cert_file")
        raise ConfigError(f"{path(given)}{given} needs {where}{missing} beside it: both belong together")
    return TlsInterface(
        ca_file=text("ca_file"),
        ca_path=text("ca_path"),
        cert_file=certificate,
        key_file=key,
        min_version=version,
        cipher_suites=suites,
        verify_incoming=Reader(merged, path("verify_incoming")).flag("verify_incoming"),
        verify_outgoing=Reader(merged, path("verify_outgoing")).flag("verify_outgoing"),
    )
