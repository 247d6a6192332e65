"""ConnectCA: roots, configuration, and signing."""

import msgspec

from mesh.spiffe import AgentIdentity, ServiceIdentity
from model.errors import CONNECT_NOT_ENABLED, RpcError
from model.structs.catalog_rpc import DCSpecificRequest
from model.structs.connect import CAConfiguration, CARequest, CASignRequest, IndexedCARoots, IssuedCert
from model.tables import Watch
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context, read, write


@read("ConnectCA.Roots")
def roots(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedCARoots:
    """All roots; keys never leave the servers."""
    ca = context.fsm.store.connect_ca
    rows, index = ca.list_roots(watch)
    active = ca.active_root()
    return IndexedCARoots(
        active_root_id=active.id if active else "",
        trust_domain=context.ca.trust_domain,
        roots=[msgspec.structs.replace(row, signing_key="", signing_cert="") for row in rows],
        index=index,
    )


@read("ConnectCA.ConfigurationGet")
def configuration(context: Context, args: DCSpecificRequest, watch: Watch | None) -> CAConfiguration:
    """The configuration, as it was given."""
    authorizer(context, args.token).require("operator", "write")
    config = context.fsm.store.connect_ca.config
    if config is None:
        raise RpcError(CONNECT_NOT_ENABLED)
    return config


@write("ConnectCA.ConfigurationSet")
async def configure(context: Context, args: CARequest) -> None:
    """Change the configuration."""
    authorizer(context, args.token).require("operator", "write")
    if args.config is None:
        raise RpcError("missing CA configuration")
    current = context.fsm.store.connect_ca.config
    if args.config.state and (current is None or args.config.state != current.state):
        raise RpcError("Provider State is read-only. It must be omitted or identical to the current value")
    await context.ca.configure(args.config)


@write("ConnectCA.Sign")
async def sign(context: Context, args: CASignRequest) -> IssuedCert:
    """Issue a leaf certificate."""
    authz = authorizer(context, args.token)

    def check(identity: ServiceIdentity | AgentIdentity) -> None:
        if isinstance(identity, ServiceIdentity):
            authz.require("service", "write", identity.service)
        else:
            authz.require("node", "write", identity.node)

    return await context.ca.sign(args.csr, check=check)
