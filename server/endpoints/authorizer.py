"""What endpoints ask about a token, row by row and name by name.

Until tokens exist the answer is always yes; the seam is here so that no endpoint has to change when they do.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from server.endpoints.context import Context


class Authorizer(Protocol):
    """Decides what one token may do. Every method takes the name of the thing and says whether it is allowed."""

    @property
    def allows_all(self) -> bool:
        """Whether every question is answered with yes, so that nobody needs to ask about each row."""

    def allowed(self, resource: str, access: str, name: str = "") -> bool:
        """Whether `access` ("read", "write", "list" …) to a resource ("key", "service", "operator" …) is allowed."""

    def key_read(self, key: str) -> bool:
        """Whether a key may be read."""

    def node_read(self, node: str) -> bool:
        """Whether a node may be seen."""

    def service_read(self, service: str) -> bool:
        """Whether a service may be seen."""

    def session_read(self, node: str) -> bool:
        """Whether the sessions of a node may be seen."""

    def require(self, resource: str, access: str, name: str = "") -> None:
        """Raise RpcError with Consul's text ("Permission denied …") unless it is allowed."""


class AllowAll:
    """The authorizer of a cluster without tokens, and of a management token."""

    allows_all = True

    def allowed(self, resource: str, access: str, name: str = "") -> bool:
        """Yes."""
        return True

    def key_read(self, key: str) -> bool:
        """Yes."""
        return True

    def node_read(self, node: str) -> bool:
        """Yes."""
        return True

    def service_read(self, service: str) -> bool:
        """Yes."""
        return True

    def session_read(self, node: str) -> bool:
        """Yes."""
        return True

    def require(self, resource: str, access: str, name: str = "") -> None:
        """Nothing to object to."""


ALLOW_ALL = AllowAll()
WHO_MAY = ("acl",)
"""The topic that every change of what some token may do has to touch: answers that were kept are dropped by it."""


def authorizer(context: "Context", token: str) -> Authorizer:
    """What the bearer of a token may do. Every endpoint asks here first, so that tokens come in at one place."""
    return ALLOW_ALL
