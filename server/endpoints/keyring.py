"""Internal.KeyringOperation: the gossip keys of both pools.

Traffic between members is not encrypted yet, so every member has the same to say: there is no keyring.
"""

from model.errors import RpcError
from model.structs.operator import KeyringRequest, KeyringResponse, KeyringResponses
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context, local

NO_KEYS = "Keyring is empty (encryption not enabled)"
NO_KEYRING = "No keyring to modify (encryption not enabled)"
ACCESS = {"list": "read", "install": "write", "use": "write", "remove": "write"}


@local("Internal.KeyringOperation")
async def keyring(context: Context, args: KeyringRequest) -> KeyringResponses:
    """List the keys or change them, in the WAN pool first. Raises RpcError for an unknown operation."""
    access = ACCESS.get(args.operation)
    if access is None:
        raise RpcError(f"unknown keyring operation {args.operation!r}")
    authorizer(context, args.token).require("keyring", access)
    text = NO_KEYS if access == "read" else NO_KEYRING
    answers = [_refused(context.datacenter, sorted(context.members_alive()), text)]
    if not args.local_only:
        servers = [member.name for member in context.server_members() if member.status == "alive"]
        wide = sorted(f"{name}.{context.datacenter}" for name in servers)
        answers.insert(0, _refused(context.datacenter, wide, text, wan=True))
    return KeyringResponses(responses=answers)


def _refused(datacenter: str, nodes: list[str], text: str, wan: bool = False) -> KeyringResponse:
    return KeyringResponse(
        datacenter=datacenter,
        wan=wan,
        error=f"{len(nodes)}/{len(nodes)} nodes reported failure",
        messages=dict.fromkeys(nodes, text),
        num_nodes=len(nodes),
    )
