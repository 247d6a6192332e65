"""The built-in certificate authority: its root in Raft state, leaf certificates, rotation.

The leader sets it up once; from then on every change is a command, so any later leader goes on with the same keys.
"""

import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from mesh import certificates
from mesh.certificates import CertificateError, PrivateKey
from mesh.spiffe import AgentIdentity, ServiceIdentity
from model.commands import CommandType
from model.durations import HOUR, SECOND, DurationError, format_duration, parse_duration
from model.errors import SIGN_RATE_LIMITED, RpcError
from model.gotime import GoTime
from model.structs.connect import CAConfiguration, CAConsulProviderState, CALeafRequest, CARequest, CARoot, IssuedCert
from server.state.store import Store

log = logging.getLogger("lictor.connect.ca")

PROVIDER = "consul"
DEFAULT_CONFIG: dict[str, Any] = {"LeafCertTTL": "72h", "IntermediateCertTTL": "8760h", "RootCertTTL": "87600h"}


class ProviderConfig(NamedTuple):
    """The built-in provider's settings; times in nanoseconds."""

    leaf_ttl: int = 72 * HOUR
    intermediate_ttl: int = 8760 * HOUR
    root_ttl: int = 87600 * HOUR
    key_type: str = "ec"
    key_bits: int = 256
    private_key: str = ""
    root_cert: str = ""
    csr_per_second: float = 50.0
    disable_cross_signing: bool = False


def parse_config(config: dict[str, Any] | None) -> ProviderConfig:
    """Read and check a provider's configuration. Raises RpcError."""
    given = {key.lower().replace("_", ""): value for key, value in (config or {}).items()}
    names = {"leafcertttl": "LeafCertTTL", "intermediatecertttl": "IntermediateCertTTL", "rootcertttl": "RootCertTTL"}
    times = {"leafcertttl": 72 * HOUR, "intermediatecertttl": 8760 * HOUR, "rootcertttl": 87600 * HOUR}
    for key, shown in names.items():
        if key in given and given[key] not in (None, ""):
            times[key] = _duration(shown, given[key])
    try:
        rate = float(given.get("csrmaxpersecond", 50))
        if not math.isfinite(rate):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        text = given["csrmaxpersecond"]
        raise RpcError(
            "error decoding config: 1 error(s) decoding:\n\n* cannot parse 'CSRMaxPerSecond' as float: "
            f'strconv.ParseFloat: parsing "{text}": invalid syntax'
        ) from None
    kind = str(given.get("privatekeytype") or "ec")
    bits = _whole("PrivateKeyBits", given.get("privatekeybits") or (256 if kind == "ec" else 0))
    parsed = ProviderConfig(
        leaf_ttl=times["leafcertttl"],
        intermediate_ttl=times["intermediatecertttl"],
        root_ttl=times["rootcertttl"],
        key_type=kind,
        key_bits=bits,
        private_key=str(given.get("privatekey") or ""),
        root_cert=str(given.get("rootcert") or ""),
        csr_per_second=rate,
        disable_cross_signing=bool(given.get("disablecrosssigning", False)),
    )
    _check(parsed)
    return parsed


def provider_state(config: dict[str, Any] | None) -> dict[str, str] | None:
    """What a provider wants to be kept beside its settings. The built-in one only passes `test_state` on."""
    given = (config or {}).get("test_state")
    if not isinstance(given, dict):
        return None
    return {key: value for key, value in given.items() if isinstance(value, str)} or None


def _whole(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise RpcError(
            f"error decoding config: 1 error(s) decoding:\n\n* cannot parse '{name}' as int: "
            f'strconv.ParseInt: parsing "{value}": invalid syntax'
        ) from None


def _duration(name: str, value: Any) -> int:
    try:
        found = parse_duration(value) if isinstance(value, str) else int(value)
        if not -MAX_DURATION <= found <= MAX_DURATION:
            raise ValueError(f"{value} overflows int64")
        return found
    except (DurationError, TypeError, ValueError, OverflowError) as error:
        raise RpcError(f"error decoding config: 1 error(s) decoding:\n\n* error decoding '{name}': {error}") from None


def _check(config: ProviderConfig) -> None:
    if config.leaf_ttl < HOUR:
        raise RpcError("leaf cert TTL must be greater or equal than 1h0m0s")
    if config.leaf_ttl > 8760 * HOUR:
        raise RpcError("leaf cert TTL must be less than 8760h0m0s")
    if config.intermediate_ttl < 3 * HOUR:
        raise RpcError("Intermediate Cert TTL must be greater or equal than 3h")
    if config.intermediate_ttl < 3 * config.leaf_ttl:
        least = format_duration(3 * config.leaf_ttl)
        raise RpcError(f"Intermediate Cert TTL must be greater or equal than 3 * LeafCertTTL (>={least}).")
    if config.root_ttl <= config.intermediate_ttl:
        raise RpcError(
            "root cert TTL is set and is not greater than intermediate cert ttl. "
            f"root cert ttl: {format_duration(config.root_ttl)}, "
            f"intermediate cert ttl: {format_duration(config.intermediate_ttl)}"
        )
    if config.key_type not in ("ec", "rsa"):
        raise RpcError("private key type must be either 'ec' or 'rsa'")
    if config.key_type == "ec" and config.key_bits not in (224, 256, 384, 521):
        raise RpcError("EC key length must be one of (224, 256, 384, 521) bits")
    if config.key_type == "rsa" and config.key_bits not in (2048, 4096):
        raise RpcError("RSA key length must be 2048 or 4096 bits")
    if config.root_cert and not config.private_key:
        raise RpcError("must provide a private key when providing a root cert")


MAX_DURATION = (1 << 63) - 1
"""Nanoseconds: some 292 years."""
Apply = Callable[[int, msgspec.Struct], Awaitable[Any]]


class CertificateAuthority:
    """The leader's side of the CA. `apply(kind, request)` replicates a command; `store()` is the present state."""

    def __init__(self, datacenter: str, store: Callable[[], Store], apply: Apply, uuid: Callable[[], str]) -> None:
        self._datacenter = datacenter
        self._store = store
        self._apply = apply
        self._uuid = uuid
        self.initial_config: dict[str, Any] = {}
        self._allowance = 0.0
        self._refilled = 0.0
        self._parsed_key: tuple[str, PrivateKey] | None = None

    @property
    def trust_domain(self) -> str:
        """The domain of all identities; "" before the CA is set up."""
        config = self._store().connect_ca.config
        return f"{config.cluster_id}.consul" if config else ""

    async def initialize(self) -> None:
        """Set the CA up, if no earlier leader has. Raises RaftError when leadership is lost meanwhile."""
        ca = self._store().connect_ca
        if ca.config is None:
            cluster = self.initial_config.get("ClusterID") or self.initial_config.get("cluster_id") or self._uuid()
            settings = {key: value for key, value in self.initial_config.items() if key.lower() != "clusterid"}
            settings.pop("cluster_id", None)
            config = CAConfiguration(cluster_id=str(cluster), provider=PROVIDER, config={**DEFAULT_CONFIG, **settings})
            await self._apply(CommandType.CONNECT_CA, CARequest(op="set-config", config=config))
        ca = self._store().connect_ca
        if ca.active_root() is None:
            assert ca.config is not None
            root = await self._new_root(parse_config(ca.config.config))
            known = self._store().indexes.get("connect-ca-roots")
            request = CARequest(op="set-roots-config", index=known, roots=[root], config=ca.config)
            await self._apply(CommandType.CONNECT_CA, request)
            log.info("initialized primary datacenter CA with provider: provider=%s", PROVIDER)

    async def _serial(self) -> int:
        serial = await self._apply(CommandType.CONNECT_CA, CARequest(op="increment-provider-serial"))
        return int(serial)

    async def _new_root(self, config: ProviderConfig) -> CARoot:
        now = time.time()
        try:
            if config.private_key:
                key = certificates.load_key(config.private_key)
            else:
                key = certificates.generate_key(config.key_type, config.key_bits)
            if config.root_cert:
                certificate = certificates.load_certificate(config.root_cert)
                if certificates.key_identifier(certificate) != certificates.key_identifier(key):
                    raise RpcError("the root certificate does not belong to the private key")
            else:
                serial = await self._serial()
                ttl = config.root_ttl / SECOND
                tag = secrets.token_hex(4)[:7]
                certificate = certificates.make_root(key, self.trust_domain, serial, now, ttl, tag)
        except CertificateError as error:
            raise RpcError(str(error)) from None
        pem = certificates.to_pem(certificate)
        identifier = certificates.fingerprint(certificate)
        await self._apply(
            CommandType.CONNECT_CA,
            CARequest(
                op="set-provider-state",
                provider_state=CAConsulProviderState(
                    id=identifier, private_key=certificates.key_pem(key), root_cert=pem
                ),
            ),
        )
        return CARoot(
            id=identifier,
            name="Consul CA Primary Cert",
            serial_number=certificate.serial_number,
            signing_key_id=certificates.key_identifier(certificate).hex(":"),
            external_trust_domain=self.trust_domain.partition(".")[0],
            not_before=GoTime.from_unix(certificate.not_valid_before_utc.timestamp()),
            not_after=GoTime.from_unix(certificate.not_valid_after_utc.timestamp()),
            root_cert=pem,
            active=True,
            private_key_type=config.key_type,
            private_key_bits=config.key_bits,
        )

    async def configure(self, wanted: CAConfiguration) -> None:
        """Change the configuration; a new key or root certificate rotates the root. Raises RpcError."""
        ca = self._store().connect_ca
        old, active = ca.config, ca.active_root()
        if old is None or active is None:
            raise RpcError("CA is not initialized")
        if wanted.provider != PROVIDER:
            raise RpcError(f'could not initialize provider: unknown CA provider "{wanted.provider}"')
        try:
            parsed = parse_config(wanted.config)
        except RpcError as error:
            raise RpcError(f"error configuring provider: {error.text}") from None
        config = msgspec.structs.replace(
            wanted, cluster_id=old.cluster_id, state=provider_state(wanted.config), modify_index=0
        )
        same_kind = (parsed.key_type, parsed.key_bits) == (active.private_key_type, active.private_key_bits)
        same_root = not parsed.root_cert or parsed.root_cert.strip() == active.root_cert.strip()
        state = ca.provider_states.get(active.id)
        known_key = state.private_key.strip() if state is not None else ""
        same_key = not parsed.private_key or parsed.private_key.strip() == known_key
        if same_kind and same_root and same_key:
            await self._apply(CommandType.CONNECT_CA, CARequest(op="set-config", config=config))
            return
        root = await self._new_root(parsed)
        if not wanted.force_without_cross_signing and state is not None and not parsed.disable_cross_signing:
            crossed = certificates.cross_sign(
                certificates.load_certificate(root.root_cert),
                certificates.load_certificate(active.root_cert),
                certificates.load_key(state.private_key),
                await self._serial(),
                time.time(),
                parsed.intermediate_ttl / SECOND,
            )
            root = msgspec.structs.replace(root, intermediate_certs=[certificates.to_pem(crossed)])
        roots = [
            msgspec.structs.replace(known, active=False, rotated_out_at=GoTime.from_unix(time.time()))
            if known.active
            else known
            for known in ca.roots
            if known.id != root.id
        ]
        index = self._store().indexes.get("connect-ca-roots")
        request = CARequest(op="set-roots-config", index=index, roots=[*roots, root], config=config)
        if not await self._apply(CommandType.CONNECT_CA, request):
            raise RpcError("could not atomically update roots and config")
        log.info("CA rotated to new root under provider: provider=%s", PROVIDER)

    async def sign(
        self,
        csr: str,
        foreign_domain: str = "",
        check: Callable[[ServiceIdentity | AgentIdentity], None] = lambda identity: None,
    ) -> IssuedCert:
        """Issue a leaf for a request, which may also be for `foreign_domain`. Raises RpcError with what is wrong.

        `check` raises RpcError when whoever asks may not have a certificate of an identity.
        """
        ca = self._store().connect_ca
        root = ca.active_root()
        state = ca.provider_states.get(root.id) if root else None
        if root is None or state is None or ca.config is None:
            raise RpcError("internal error: CA is not initialized")
        config = parse_config(ca.config.config)
        self._spend(config.csr_per_second)
        try:
            request, identity = certificates.load_request(csr)
        except CertificateError as error:
            raise RpcError(str(error)) from None
        if not isinstance(identity, ServiceIdentity | AgentIdentity):
            raise RpcError("SPIFFE ID in CSR must be a service or agent ID")
        if identity.trust_domain not in (self.trust_domain.lower(), foreign_domain or None):
            raise RpcError(
                f'SPIFFE ID in CSR from a different trust domain: "{identity.trust_domain}", '
                f'we are "{self.trust_domain}"'
            )
        if identity.datacenter != self._datacenter:
            raise RpcError(
                f'SPIFFE ID in CSR from a different datacenter: "{identity.datacenter}", we are "{self._datacenter}"'
            )
        check(identity)
        issued = certificates.sign_leaf(
            request,
            identity,
            certificates.load_certificate(root.root_cert),
            self._key(state.private_key),
            await self._serial(),
            time.time(),
            config.leaf_ttl / SECOND,
        )
        index = await self._apply(CommandType.CA_LEAF, CALeafRequest(op="increment-index"))
        del index
        modified = self._store().indexes.get("connect-ca-leaf-certs")
        chain = issued.pem + "".join(root.intermediate_certs or ())
        common = IssuedCert(
            serial_number=issued.serial,
            cert_pem=chain,
            valid_after=GoTime.from_unix(issued.valid_after),
            valid_before=GoTime.from_unix(issued.valid_before),
            create_index=modified,
            modify_index=modified,
        )
        if isinstance(identity, ServiceIdentity):
            return msgspec.structs.replace(common, service=identity.service, service_uri=identity.uri)
        return msgspec.structs.replace(common, agent=identity.node, agent_uri=identity.uri)

    def _key(self, pem: str) -> PrivateKey:
        if self._parsed_key is None or self._parsed_key[0] != pem:
            self._parsed_key = (pem, certificates.load_key(pem))
        return self._parsed_key[1]

    def _spend(self, per_second: float) -> None:
        """Take one from the allowance of signatures; raises RpcError when it is used up."""
        if per_second <= 0:
            return
        now = time.monotonic()
        burst = max(per_second, 1.0)
        self._allowance = min(burst, self._allowance + (now - self._refilled) * per_second) if self._refilled else burst
        self._refilled = now
        if self._allowance < 1:
            raise RpcError(SIGN_RATE_LIMITED)
        self._allowance -= 1
