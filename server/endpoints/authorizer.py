"""What endpoints ask about a token, row by row and name by name."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from server.endpoints.context import Context


class Authorizer(Protocol):
    """Decides what one token may do. Every method takes the name of the thing and says whether it is allowed."""

    @property
    def allows_all(self) -> bool:
        """Whether every question but those about "acl" is answered with yes, so that nobody has to ask for each row."""

    @property
    def intention_default(self) -> bool:
        """Whether services may connect where no intention says anything."""

    def allowed(self, resource: str, access: str, name: str = "") -> bool:
        """Whether `access` ("read", "write", "list" …) to a resource ("key", "service", "operator" …) is allowed."""

    def allowed_every(self, resource: str, access: str) -> bool:
        """Whether an access to all things of a kind is allowed, whatever their names."""

    def allowed_some(self, resource: str, access: str) -> bool:
        """Whether an access to anything of a kind is allowed."""

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

    def require_every(self, resource: str, access: str) -> None:
        """Raise RpcError unless an access to all things of a kind is allowed."""


class AllowAll:
    """The authorizer while access control is off."""

    allows_all = True
    intention_default = True

    def allowed(self, resource: str, access: str, name: str = "") -> bool:
        """Yes."""
        return True

    def allowed_every(self, resource: str, access: str) -> bool:
        """Yes."""
        return True

    def allowed_some(self, resource: str, access: str) -> bool:
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

    def require_every(self, resource: str, access: str) -> None:
        """Nothing to object to."""


ALLOW_ALL = AllowAll()


def authorizer(context: "Context", token: str) -> Authorizer:
    """What the bearer of a token may do. Every endpoint asks here first.

    Raises RpcError when access control is on and no token has this secret.
    """
    resolver = context.acl
    return resolver.authorizer(token) if resolver.settings.enabled else ALLOW_ALL
