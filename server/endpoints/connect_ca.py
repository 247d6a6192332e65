"""ConnectCA: roots, configuration, and signing."""

import msgspec

from model.errors import CONNECT_NOT_ENABLED, RpcError
from model.structs.catalog_rpc import DCSpecificRequest
from model.structs.connect import CAConfiguration, CARequest, CASignRequest, IndexedCARoots, IssuedCert
from model.tables import Watch
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
    config = context.fsm.store.connect_ca.config
    if config is None:
        raise RpcError(CONNECT_NOT_ENABLED)
    return config


@write("ConnectCA.ConfigurationSet")
async def configure(context: Context, args: CARequest) -> None:
    """Change the configuration."""
    if args.config is None:
        raise RpcError("missing CA configuration")
    current = context.fsm.store.connect_ca.config
    if args.config.state and (current is None or args.config.state != current.state):
        raise RpcError("Provider State is read-only. It must be omitted or identical to the current value")
    await context.ca.configure(args.config)


@write("ConnectCA.Sign")
async def sign(context: Context, args: CASignRequest) -> IssuedCert:
    """Issue a leaf certificate."""
    return await context.ca.sign(args.csr)
