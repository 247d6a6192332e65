"""The one way in which anybody asks for the cluster's state."""

from typing import Any, Protocol

from model.codec import Wire


class Caller(Protocol):
    """A server (which answers itself or asks its leader) or a client agent (which asks a server)."""

    async def call(self, method: str, args: Wire) -> Any:
        """Make a call of `model.methods.METHODS` and return its reply.

        Raises RpcError with the text of whoever refused.
        """
