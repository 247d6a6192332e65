"""Errors that cross the wire as text, and the well-known texts that callers look for.

A follower puts a prefix before the leader's text and a client its own, so texts nest: always compare with `in`.
"""


class RpcError(Exception):
    """A call failed; `text` is what the caller is told, word for word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def has(self, known: str) -> bool:
        """Whether the well-known text `known` is part of this error."""
        return known in self.text


NO_LEADER = "No cluster leader"
NOT_READY_FOR_CONSISTENT_READS = "Not ready to serve consistent reads"
NO_SERVERS = "No known Consul servers"
NO_PATH_TO_DATACENTER = "No path to datacenter"
RATE_LIMITED = "RPC rate limit exceeded"
ACL_NOT_FOUND = "ACL not found"
PERMISSION_DENIED = "Permission denied"
ACL_DISABLED = "ACL support disabled"
QUERY_NOT_FOUND = "Query not found"
SIGN_RATE_LIMITED = "Rate limit reached, try again later"
CONNECT_NOT_ENABLED = "Connect must be enabled in order to use this endpoint"
INTENTION_NOT_FOUND = "Intention not found"
