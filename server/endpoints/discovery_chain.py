"""DiscoveryChain: the compiled graph of a service's name."""

from mesh.chains import Overrides, compile_chain
from model.errors import CONNECT_NOT_ENABLED, RpcError
from model.structs.discovery_chain import DiscoveryChainRequest, DiscoveryChainResponse
from model.tables import Watch
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context, read


@read("DiscoveryChain.Get")
def get(context: Context, args: DiscoveryChainRequest, watch: Watch | None) -> DiscoveryChainResponse:
    """The chain of a service. Raises RpcError when the entries that it is made of contradict each other."""
    store = context.fsm.store
    authorizer(context, args.token).require("service", "read", args.name)
    if not args.name:
        raise RpcError("Must provide service name")
    trust_domain = context.ca.trust_domain
    if not trust_domain:
        raise RpcError(CONNECT_NOT_ENABLED)
    entries = store.config_entries
    lookup = entries.lookup(watch)
    overrides = Overrides(args.override_protocol, args.override_connect_timeout, args.override_mesh_gateway.mode)
    chain = compile_chain(args.name, lookup, args.evaluate_in_datacenter or context.datacenter, trust_domain, overrides)
    return DiscoveryChainResponse(chain=chain, index=entries.index)
