"""The private authority for TLS between agents, and the certificates that it gives to servers, clients and the CLI.

This is not the mesh's CA: its key is a file of the operator, it signs what `lictor tls cert create` makes, and agents
trust it through `ca_file`.
"""

import datetime
import ipaddress
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from mesh.certificates import (
    CertificateError,
    PrivateKey,
    generate_key,
    key_identifier,
    key_pem,
    load_certificate,
    load_key,
    to_pem,
)

Role = Literal["server", "client", "cli"]
MAX_DAYS = 365_000


class Pair(NamedTuple):
    """A certificate and its private key, as PEM."""

    certificate: str
    key: str


class Wanted(NamedTuple):
    """What a certificate is for. `dns_names` and `addresses` are names beside those that every one has."""

    role: Role
    datacenter: str = "dc1"
    domain: str = "consul"
    node: str = ""
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    days: int = 365


def make_authority(
    now: float,
    days: int = 1825,
    domain: str = "consul",
    common_name: str = "",
    cluster_id: str = "",
    constraints: tuple[str, ...] = (),
) -> Pair:
    """A self-signed authority; `now` in seconds since the epoch, `constraints` the only DNS domains it may sign for.

    Raises CertificateError.
    """
    key = generate_key()
    serial = x509.random_serial_number()
    name = _name(common_name or f"Consul Agent CA {serial}")
    uris = [x509.UniformResourceIdentifier(f"spiffe://{cluster_id}.{domain}")] if cluster_id else []
    begin, end = _validity(now, days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(key_identifier(key)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(key_identifier(key), None, None), critical=False)
    )
    if uris:
        builder = builder.add_extension(x509.SubjectAlternativeName(uris), critical=False)
    if constraints:
        permitted = [_dns_name(one) for one in constraints]
        builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    return Pair(to_pem(builder.sign(key, hashes.SHA256())), key_pem(key))


def role_name(wanted: Wanted) -> str:
    """The name that says what a certificate is for: `server.dc1.consul`."""
    return f"{wanted.role}.{wanted.datacenter}.{wanted.domain}"


def make_certificate(authority: Pair, wanted: Wanted, now: float) -> Pair:
    """A certificate for an agent or the CLI; `now` in seconds since the epoch.

    Raises CertificateError when the authority is none, or may not sign this.
    """
    root, root_key = load_certificate(authority.certificate), load_key(authority.key)
    _check_authority(root, root_key)
    dns = [role_name(wanted), *wanted.dns_names, "localhost"]
    if wanted.node:
        dns.insert(0, f"{wanted.node}.{role_name(wanted)}")
    addresses = list(wanted.addresses) if wanted.role == "cli" else [*wanted.addresses, "127.0.0.1"]
    names: list[x509.GeneralName] = [_dns_name(name) for name in dict.fromkeys(dns)]
    names += [x509.IPAddress(_address(address)) for address in dict.fromkeys(addresses)]
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if wanted.role != "cli":
        uses.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    key = generate_key()
    begin, end = _validity(now, wanted.days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(role_name(wanted)))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier(key_identifier(key)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(_identifier(root), None, None), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    _check_issued(certificate, root, begin)
    return Pair(to_pem(certificate), key_pem(key))


def _check_authority(root: x509.Certificate, key: PrivateKey) -> None:
    try:
        if not root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise CertificateError("the CA's certificate is not that of an authority")
    except (x509.ExtensionNotFound, ValueError):
        raise CertificateError("the CA's certificate is not that of an authority") from None
    if root.public_key() != key.public_key():
        raise CertificateError("the CA's certificate and key do not belong together")


def _check_issued(certificate: x509.Certificate, root: x509.Certificate, begin: datetime.datetime) -> None:
    """See that a client would accept it, above all the authority's name constraints."""
    try:
        certificate.verify_directly_issued_by(root)
        policy = PolicyBuilder().store(Store([root])).time(begin + datetime.timedelta(minutes=2))
        policy.build_client_verifier().verify(certificate, [])
    except (VerificationError, InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise CertificateError(f"the CA may not sign this certificate: {error}") from None


def _identifier(root: x509.Certificate) -> bytes:
    try:
        return root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return key_identifier(root)


def _name(common_name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    except ValueError as error:
        raise CertificateError(f"{common_name!r} is no common name: {error}") from None


def _dns_name(name: str) -> x509.DNSName:
    try:
        return x509.DNSName(name)
    except ValueError:
        raise CertificateError(f"{name!r} is no DNS name") from None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise CertificateError(f"{text!r} is no IP address") from None


def _validity(now: float, days: int) -> tuple[datetime.datetime, datetime.datetime]:
    """From a minute ago, because clocks differ."""
    if not 1 <= days <= MAX_DAYS:
        raise CertificateError(f"days must be between 1 and {MAX_DAYS}, not {days}")
    begin = datetime.datetime.fromtimestamp(int(now) - 60, datetime.UTC)
    return begin, begin + datetime.timedelta(days=days, minutes=1)


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
