"""The server of one with access control on, and its management token."""

from typing import Any

import pytest

from model.errors import RpcError
from model.structs.acl import ACLPolicy, ACLToken, ACLTokenPolicyLink
from server.acl.resolver import Resolver
from server.acl.settings import AclSettings
from server.leader.access import establish
from tests.endpoints.fake import FakeServer

ROOT = "10000000-0000-4000-8000-000000000001"


class AclServer(FakeServer):
    """A server of one whose policy is to deny; `settings` are those of `AclSettings`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.now = 1_700_000_000.0
        chosen = {"enabled": True, "default_allow": False, "initial_management": ROOT, **settings}
        self.acl = Resolver(AclSettings(**chosen), "dc1", lambda: self.fsm.store, self.now_nanoseconds)

    async def policy(self, name: str, rules: str, **fields: Any) -> ACLPolicy:
        """Write a policy."""
        row = ACLPolicy(name=name, rules=rules, **fields)
        made = await self.call("ACL.PolicySet", policy=row, token=ROOT)
        assert isinstance(made, ACLPolicy)
        return made

    async def token(self, *policies: str, **fields: Any) -> ACLToken:
        """Make a token with policies by name."""
        links = [ACLTokenPolicyLink(name=name) for name in policies]
        made = await self.call("ACL.TokenSet", acl_token=ACLToken(policies=links or None, **fields), token=ROOT)
        assert isinstance(made, ACLToken)
        return made


async def acl_server(**settings: Any) -> AclServer:
    """A server that has become the leader."""
    server = AclServer(**settings)
    await establish(server)
    return server


async def refusal(call: Any) -> str:
    """With which text a call is refused."""
    with pytest.raises(RpcError) as caught:
        await call
    return caught.value.text
