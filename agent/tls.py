"""OpenSSL contexts from the agent's TLS settings: the one place that opens their files, at start and at each reload."""

import logging
import ssl
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent.authorities import AuthorityError, trust
from agent.config.settings import Config, ConfigError, TlsInterface
from agent.config.tls import CIPHERS
from connect_proxy.identity import load_from_memory
from model.goerrors import go_text
from rpc.security import Rules

log = logging.getLogger("lictor.agent")

_VERSIONS = {
    "TLSv1_0": ssl.TLSVersion.TLSv1,
    "TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}


class Given(NamedTuple):
    """What `auto_encrypt` gives: a client agent's certificate and key, authorities beside those of the files (PEM all),
    and whether servers' names are to be verified. On servers only the authorities."""

    certificate: str = ""
    key: str = ""
    roots: str = ""
    verify_server_hostname: bool = False


NOTHING = Given()


def https_context(config: Config, given: Given = NOTHING) -> ssl.SSLContext | None:
    """What the HTTPS listeners show and demand; None without a port for them, or without a certificate.

    As Consul, an agent starts with the port alone: the certificate may come with a reload. Raises ConfigError that
    names the key.
    """
    settings = config.tls.https
    if config.ports.https <= 0:
        return None
    if not settings.cert_file and not given.certificate:
        log.warning("ports.https: nobody can connect before tls.https.cert_file and tls.https.key_file are set")
        return None
    context = _accepting("tls.https.", settings, given)
    context.set_alpn_protocols(["http/1.1"])
    return context


def rpc_rules(config: Config, given: Given = NOTHING) -> Rules:
    """Who is let in at the servers' port and how others are dialled. Raises ConfigError that names the key."""
    tls = config.tls
    settings = tls.internal_rpc
    where = "tls.internal_rpc."
    accept = _accepting(where, settings, given) if settings.cert_file else None
    insecure = None
    if config.auto_encrypt.allow_tls:
        if accept is None:
            raise ConfigError(f"auto_encrypt.allow_tls: clients trust this server by {where}cert_file and key_file")
        insecure = _accepting(where, msgspec.structs.replace(settings, verify_incoming=False), NOTHING)
    waiting = config.auto_encrypt.tls and not given.certificate  # Nothing is dialled before there is one.
    verify_name = tls.verify_server_hostname or given.verify_server_hostname
    if settings.verify_incoming and config.server and accept is None:
        raise ConfigError(f"{where}verify_incoming: a server that demands TLS needs cert_file and key_file")
    outgoing = settings.verify_outgoing or given.certificate
    return Rules(
        accept=accept,
        insecure=insecure,
        dial=_dialling(where, settings, given, verify_name) if outgoing and not waiting else None,
        verify_incoming=settings.verify_incoming,
        verify_server_hostname=verify_name,
        server_name=f"server.{config.datacenter}.{config.domain.rstrip('.')}",
    )


def check_tls_for_checks(config: Config) -> None:
    """See that the files can be used that `enable_agent_tls_for_checks` lets checks use. Raises ConfigError."""
    if config.enable_agent_tls_for_checks:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _show_certificate("tls.internal_rpc.", context, config.tls.internal_rpc)
        if config.tls.internal_rpc.ca_file or config.tls.internal_rpc.ca_path:
            _trust("tls.internal_rpc.", "", context, config.tls.internal_rpc)


def first_context(config: Config) -> ssl.SSLContext:
    """With which a client agent asks for its certificate: as careful as its own files allow. Raises ConfigError."""
    settings = config.tls.internal_rpc
    if settings.ca_file or settings.ca_path:
        where = "tls.internal_rpc."
        plain = msgspec.structs.replace(settings, cert_file="", key_file="")
        return _dialling(where, plain, NOTHING, config.tls.verify_server_hostname)
    log.warning("auto_encrypt.tls: without tls.internal_rpc.ca_file anybody could pose as a server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def manual_roots(config: Config) -> tuple[str, ...]:
    """The authorities of the files, as PEM, for those who have none yet."""
    settings = config.tls.internal_rpc
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust(context, settings.ca_file, settings.ca_path)
    return tuple(ssl.DER_cert_to_PEM_cert(found) for found in context.get_ca_certs(binary_form=True))


def _accepting(where: str, settings: TlsInterface, given: Given) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _limit(where, context, settings)
    _show_certificate(where, context, settings, given)
    if settings.verify_incoming:
        _trust(where, "verify_incoming", context, settings, given)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _dialling(where: str, settings: TlsInterface, given: Given, verify_name: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _limit(where, context, settings)
    _show_certificate(where, context, settings, given)
    _trust(where, "verify_outgoing", context, settings, given)
    context.check_hostname = verify_name
    context.hostname_checks_common_name = False
    return context


def _limit(where: str, context: ssl.SSLContext, settings: TlsInterface) -> None:
    context.minimum_version = _VERSIONS[settings.min_version]
    if settings.min_version in ("TLSv1_0", "TLSv1_1"):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL has no signatures for these at its usual level.
    if settings.cipher_suites:
        level = ":@SECLEVEL=0" if settings.min_version in ("TLSv1_0", "TLSv1_1") else ""
        try:
            context.set_ciphers(":".join(CIPHERS[name] for name in settings.cipher_suites) + level)
        except ssl.SSLError:
            names = ", ".join(settings.cipher_suites)
            raise ConfigError(f"{where}tls_cipher_suites: this build of OpenSSL has none of {names}") from None


def _show_certificate(where: str, context: ssl.SSLContext, settings: TlsInterface, given: Given = NOTHING) -> None:
    if not settings.cert_file:
        if given.certificate:
            load_from_memory(context, given.certificate, given.key)
        return
    for key, path in (("cert_file", settings.cert_file), ("key_file", settings.key_file)):
        _readable(f"{where}{key}", path)
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigError(
            f"{where}cert_file {settings.cert_file}, key_file {settings.key_file}: "
            f"failed to load cert/key pair: {reason}"
        ) from None


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _trust(where: str, why: str, context: ssl.SSLContext, settings: TlsInterface, given: Given = NOTHING) -> None:
    """Trust the authorities of `ca_file` and of every file in `ca_path`."""
    if given.roots:
        context.load_verify_locations(cadata=given.roots)
    elif not settings.ca_file and not settings.ca_path:
        raise ConfigError(f"{where}{why}: there is no CA to verify against: set {where}ca_file or {where}ca_path")
    try:
        trust(context, settings.ca_file, settings.ca_path)
    except AuthorityError as error:
        raise ConfigError(f"{where}{error.key}: {error}") from None


def _readable(key: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{key}: {go_text(error)}") from None
