"""TLS of the commands' HTTP client, from flags and environment."""

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.authorities import AuthorityError, trust
from model.goerrors import go_text

_NO = ("0", "f", "F", "false", "FALSE", "False")


class TlsOptions(NamedTuple):
    """Whom to trust, what to show, and the name to expect instead of the address's host ("": that)."""

    context: ssl.SSLContext
    server_name: str


def tls_options(flags: Mapping[str, Any], environment: Mapping[str, str]) -> TlsOptions:
    """The options that flags and environment give. Raises ValueError with a readable text."""

    def option(flag: str, variable: str) -> str:
        return str(flags.get(flag) or environment.get(variable, ""))

    authority, folder = option("ca-file", "CONSUL_CACERT"), option("ca-path", "CONSUL_CAPATH")
    context = ssl.create_default_context() if not (authority or folder) else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        trust(context, authority, "" if authority else folder)
    except AuthorityError as error:
        raise ValueError(f"Error loading {'CA File' if error.key == 'ca_file' else 'CA path'}: {error}") from None
    _show(context, option("client-cert", "CONSUL_CLIENT_CERT"), option("client-key", "CONSUL_CLIENT_KEY"))
    if environment.get("CONSUL_HTTP_SSL_VERIFY", "") in _NO:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return TlsOptions(context, option("tls-server-name", "CONSUL_TLS_SERVER_NAME"))


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    if not certificate and not key:
        return
    if not certificate or not key:
        raise ValueError("both client cert and client key must be provided")

    def no_password() -> str:
        raise ValueError("the key is encrypted")

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = go_text(error)
        raise ValueError(f"Error loading client certificate {certificate} and key {key}: {reason}") from None


class SecureConnection(http.client.HTTPConnection):
    """HTTPS to an agent whose certificate may be for another name than the one by which it is reached."""

    default_port = 443

    def __init__(self, host: str, port: int, timeout: float, options: TlsOptions) -> None:
        super().__init__(host, port, timeout=timeout)
        self._options = options

    def connect(self) -> None:
        """Connect and shake hands. Raises OSError."""
        plain = socket.create_connection((self.host, self.port), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock = self._options.context.wrap_socket(plain, server_hostname=self._options.server_name or self.host)
        except BaseException:
            plain.close()
            raise


def tls_problem(error: OSError) -> str:
    """What went wrong in a handshake, for people; "" for errors of other kinds."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"tls: {str(error.reason or error).replace('_', ' ').lower()}"
    return ""
