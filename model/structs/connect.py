"""The Connect CA: roots, configuration, leaf certificates."""

from typing import Annotated, Any

from model.codec import HIDDEN, OMIT, Name, Wire
from model.gotime import ZERO_TIME, GoTime
from model.structs.base import Meta


class CARoot(Wire, frozen=True):
    """A root certificate of the CA, active or kept for verification."""

    active: bool = False
    external_trust_domain: str = ""
    id: str = ""
    intermediate_certs: list[str] | None = None
    name: str = ""
    not_after: GoTime = ZERO_TIME
    not_before: GoTime = ZERO_TIME
    private_key_bits: int = 0
    private_key_type: str = ""
    root_cert: str = ""
    rotated_out_at: Annotated[GoTime, HIDDEN] = ZERO_TIME
    serial_number: int = 0
    signing_cert: Annotated[str, OMIT] = ""
    signing_key: Annotated[str, OMIT] = ""
    signing_key_id: str = ""
    create_index: int = 0
    modify_index: int = 0


class IndexedCARoots(Meta, frozen=True):
    """Answer of `ConnectCA.Roots`."""

    active_root_id: str = ""
    roots: list[CARoot] | None = None
    trust_domain: str = ""


class CAConfiguration(Wire, frozen=True):
    """Which provider issues certificates, and its settings."""

    cluster_id: Annotated[str, HIDDEN] = ""
    config: dict[str, Any] | None = None
    force_without_cross_signing: bool = False
    provider: str = ""
    state: dict[str, str] | None = None
    create_index: int = 0
    modify_index: int = 0


class CAConsulProviderState(Wire, frozen=True):
    """The built-in provider's keys and certificates."""

    id: str = ""
    intermediate_cert: str = ""
    private_key: str = ""
    root_cert: str = ""
    create_index: int = 0
    modify_index: int = 0


class CARequest(Wire, frozen=True):
    """Command that changes the CA's configuration, roots or provider state."""

    config: CAConfiguration | None = None
    datacenter: str = ""
    index: int = 0
    op: str = ""
    provider_state: CAConsulProviderState | None = None
    roots: list[CARoot] | None = None
    token: Annotated[str, HIDDEN] = ""


class CALeafRequest(Wire, frozen=True):
    """Command that counts up the leaf serial number."""

    datacenter: str = ""
    op: str = ""
    token: Annotated[str, HIDDEN] = ""


class CASignRequest(Wire, frozen=True):
    """Arguments of `ConnectCA.Sign`, `ConnectCA.SignIntermediate`, `AutoEncrypt.Sign`."""

    csr: str = ""
    datacenter: str = ""
    token: Annotated[str, HIDDEN] = ""


class IssuedCert(Wire, frozen=True):
    """A leaf certificate that the CA signed."""

    agent: Annotated[str, OMIT] = ""
    agent_uri: Annotated[str, Name("AgentURI"), OMIT] = ""
    cert_pem: str = ""
    kind: Annotated[str, OMIT] = ""
    kind_uri: Annotated[str, Name("KindURI"), OMIT] = ""
    private_key_pem: Annotated[str, OMIT] = ""
    serial_number: str = ""
    server_uri: Annotated[str, Name("ServerURI"), OMIT] = ""
    service: Annotated[str, OMIT] = ""
    service_uri: Annotated[str, Name("ServiceURI"), OMIT] = ""
    valid_after: GoTime = ZERO_TIME
    valid_before: GoTime = ZERO_TIME
    create_index: int = 0
    modify_index: int = 0


class SignedResponse(Wire, frozen=True):
    """Answer of `AutoEncrypt.Sign`."""

    connect_ca_roots: IndexedCARoots = IndexedCARoots()
    gossip_key: str = ""
    issued_cert: IssuedCert = IssuedCert()
    manual_ca_roots: list[str] | None = None
    verify_server_hostname: bool = False
