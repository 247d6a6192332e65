"""AutoEncrypt: a client agent that has no certificate yet gets its first one."""

from mesh import certificates
from mesh.certificates import CertificateError
from mesh.spiffe import AgentIdentity
from model.errors import CONNECT_NOT_ENABLED, RpcError
from model.structs.catalog_rpc import DCSpecificRequest
from model.structs.connect import CASignRequest, SignedResponse
from server.endpoints import connect_ca
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context, write

NOT_ALLOWED = "AutoEncrypt.AllowTLS must be enabled in order to use this endpoint"


@write("AutoEncrypt.Sign")
async def sign(context: Context, args: CASignRequest) -> SignedResponse:
    """Issue a certificate for a client agent, and say whom it is to trust."""
    offer = context.auto_encrypt
    if offer is None:
        raise RpcError(NOT_ALLOWED)
    if not context.connect_enabled:
        raise RpcError(CONNECT_NOT_ENABLED)
    try:
        _, identity = certificates.load_request(args.csr)
    except CertificateError as error:
        raise RpcError(str(error)) from None
    if not isinstance(identity, AgentIdentity):
        raise RpcError("SPIFFE ID in CSR must be an agent ID")
    authorizer(context, args.token).require("node", "write", identity.node)
    # Who asks for the first time cannot know the trust domain, so any is taken.
    issued = await context.ca.sign(args.csr, identity.trust_domain)
    return SignedResponse(
        connect_ca_roots=connect_ca.roots(context, DCSpecificRequest(datacenter=context.datacenter), None),
        issued_cert=issued,
        manual_ca_roots=list(offer.roots),
        verify_server_hostname=offer.verify_server_hostname,
    )
