"""Certificates of the mesh: roots, leaves and requests for them, with the contents that Consul's have.

Keys are ECDSA (P-256 by default) or RSA. Key identifiers are the SHA-256 of the public key.
"""

import datetime
import hashlib
import ipaddress
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mesh.spiffe import CaIdentity, Identity, SpiffeError, parse

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
MAX_PEM = 1 << 20
_CURVES: dict[int, ec.EllipticCurve] = {
    224: ec.SECP224R1(),
    256: ec.SECP256R1(),
    384: ec.SECP384R1(),
    521: ec.SECP521R1(),
}


class CertificateError(ValueError):
    """A key, request or certificate that cannot be used; the text says why."""


class Issued(NamedTuple):
    """A leaf certificate: PEM, serial number as hex pairs, validity in seconds since the epoch, and whose it is."""

    pem: str
    serial: str
    valid_after: float
    valid_before: float
    identity: Identity


def generate_key(kind: str = "ec", bits: int = 256) -> PrivateKey:
    """A new private key; `kind` is "ec" or "rsa"."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, bits)
    return ec.generate_private_key(_CURVES[bits])


def key_pem(key: PrivateKey) -> str:
    """A private key as unencrypted PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def load_key(pem: str) -> PrivateKey:
    """Read a private key. Raises CertificateError."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError("no PEM-encoded data found") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CertificateError("private key must be ECDSA or RSA")
    return key


def load_certificate(pem: str) -> x509.Certificate:
    """Read the first certificate of a PEM text. Raises CertificateError."""
    if len(pem) > MAX_PEM:
        raise CertificateError("certificate is too large")
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise CertificateError("no PEM-encoded data found") from None


def to_pem(certificate: x509.Certificate) -> str:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-1 of a certificate as hex pairs with colons; Consul's ID of a root."""
    return hashlib.sha1(certificate.public_bytes(serialization.Encoding.DER)).digest().hex(":")


def key_identifier(key: PrivateKey | x509.CertificateSigningRequest | x509.Certificate) -> bytes:
    """The SHA-256 of the public key (DER)."""
    public = key.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()


def serial_text(serial: int) -> str:
    """A serial number as hex pairs with colons, at least one pair."""
    return serial.to_bytes(max(1, (serial.bit_length() + 7) // 8), "big").hex(":")


def _hash_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384() if key.curve.key_size <= 384 else hashes.SHA512()
    return hashes.SHA256()


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


_CA_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_LEAF_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=True,
    data_encipherment=True,
    key_agreement=True,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def make_root(
    key: PrivateKey, trust_domain: str, serial: int, now: float, ttl: float, name_tag: str
) -> x509.Certificate:
    """A self-signed root; times in seconds. `name_tag` makes its common name unlike that of other roots."""
    cluster = trust_domain.partition(".")[0][:8]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pri-{name_tag}.consul.ca.{cluster}.consul")])
    identifier = key_identifier(key)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(_time(now))
        .not_valid_after(_time(now + ttl))
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(identifier), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(CaIdentity(trust_domain).uri)]), critical=False
        )
        .sign(key, _hash_for(key))
    )


def cross_sign(
    new_root: x509.Certificate, old_root: x509.Certificate, old_key: PrivateKey, serial: int, now: float, ttl: float
) -> x509.Certificate:
    """The new root's key, signed by the old root: who only knows the old one then trusts the new one's leaves."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(new_root.subject)
        .issuer_name(old_root.subject)
        .public_key(new_root.public_key())
        .serial_number(serial)
        .not_valid_before(_time(now))
        .not_valid_after(_time(now + ttl))
    )
    for extension in new_root.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, extension.critical)
    authority = x509.AuthorityKeyIdentifier(_subject_identifier(old_root), None, None)
    return builder.add_extension(authority, critical=False).sign(old_key, _hash_for(old_key))


def _subject_identifier(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return key_identifier(certificate)


def make_request(
    key: PrivateKey, identity: Identity, dns_names: tuple[str, ...] = (), addresses: tuple[str, ...] = ()
) -> str:
    """A certificate request (PEM) for an identity, and for DNS names and IP addresses."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
    names.extend(x509.DNSName(name) for name in dns_names)
    names.extend(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses)
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, _hash_for(key))
    )
    return request.public_bytes(serialization.Encoding.PEM).decode()


def load_request(pem: str) -> tuple[x509.CertificateSigningRequest, Identity]:
    """Read and check a request, and say who asks. Raises CertificateError."""
    if len(pem) > MAX_PEM:
        raise CertificateError("CSR is too large")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
    except ValueError:
        raise CertificateError("no PEM-encoded data found") from None
    try:
        if not request.is_signature_valid:
            raise CertificateError("CSR is not signed by its own key")
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, x509.ExtensionNotFound):
        raise CertificateError("CSR SAN contains an invalid number of URIs: 0") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise CertificateError(f"CSR SAN contains an invalid number of URIs: {len(uris)}")
    try:
        return request, parse(uris[0])
    except SpiffeError as error:
        raise CertificateError(str(error)) from None


def sign_leaf(
    request: x509.CertificateSigningRequest,
    identity: Identity,
    root: x509.Certificate,
    root_key: PrivateKey,
    serial: int,
    now: float,
    ttl: float,
) -> Issued:
    """Issue a leaf for a checked request; it begins a minute ago, because clocks differ."""
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    after, before = int(now) - 60, int(now + ttl)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(root.subject)
        .public_key(request.public_key())
        .serial_number(serial)
        .not_valid_before(_time(after))
        .not_valid_after(_time(before))
        .add_extension(_LEAF_USAGE, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(key_identifier(request)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(_subject_identifier(root), None, None), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(root_key, _hash_for(root_key))
    )
    return Issued(to_pem(certificate), serial_text(serial), float(after), float(before), identity)


def identity_of(certificate: x509.Certificate) -> Identity:
    """Whose certificate this is. Raises CertificateError."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        raise CertificateError("the certificate names no SPIFFE ID") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise CertificateError(f"the certificate names {len(uris)} URIs instead of one SPIFFE ID")
    try:
        return parse(uris[0])
    except SpiffeError as error:
        raise CertificateError(str(error)) from None
