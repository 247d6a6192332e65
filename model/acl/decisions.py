"""What rules decide: whether an access to a resource is allowed, denied, or left to the default."""

from collections.abc import Iterable

from model.acl.rules import Grants, Level, Rules

ACCESSES = {
    **dict.fromkeys(("acl", "keyring", "operator", "mesh", "peering"), ("read", "write")),
    **dict.fromkeys(("agent", "event", "intention", "node", "query", "session"), ("read", "write")),
    "service": ("read", "write"),
    "key": ("read", "list", "write", "write-prefix"),
}
"""The resources that one may ask about, and the accesses to each."""
_NEEDED = {"read": Level.READ, "list": Level.LIST, "write": Level.WRITE, "write-prefix": Level.WRITE}
_IMPLIED_BY_OPERATOR = ("mesh", "peering")


class Decisions:
    """The decisions of one set of rules; every method says True (allowed), False (denied) or None (not said)."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._lengths = {
            kind: sorted({len(name) for name in grants.prefix}, reverse=True) for kind, grants in rules.named.items()
        }

    def decide(self, resource: str, access: str, name: str = "") -> bool | None:
        """About one access (see `ACCESSES`) to one thing, or to the whole cluster's `resource`."""
        needed = _NEEDED[access]
        grants = self._rules.named.get(resource)
        if grants is None:
            return self._whole(resource, needed)
        if resource == "intention" and name == "*":
            return self._any_name(grants, needed) if access == "read" else self._every_name(grants, needed)
        if access == "write-prefix":
            return self._below(grants, name)
        level = self.level(resource, name)
        return None if level is None else level >= needed

    def level(self, resource: str, name: str) -> Level | None:
        """What is granted for a name: by the rule for it, or else by the one for its longest beginning."""
        grants = self._rules.named[resource]
        exact = grants.exact.get(name)
        if exact is not None:
            return exact
        return self._by_prefix(resource, name)

    def every(self, resource: str, access: str) -> bool | None:
        """About an access to all things of a kind, whatever their names."""
        return self._every_name(self._rules.named[resource], _NEEDED[access])

    def some(self, resource: str, access: str) -> bool | None:
        """About an access to anything of a kind."""
        return self._any_name(self._rules.named[resource], _NEEDED[access])

    def _by_prefix(self, resource: str, name: str) -> Level | None:
        prefixes = self._rules.named[resource].prefix
        for length in self._lengths[resource]:
            if length <= len(name):
                level = prefixes.get(name[:length])
                if level is not None:
                    return level
        return None

    def _whole(self, resource: str, needed: Level) -> bool | None:
        level = self._rules.whole.get(resource)
        if level is None and resource in _IMPLIED_BY_OPERATOR:
            level = self._rules.whole.get("operator")
        return None if level is None else level >= needed

    def _below(self, grants: Grants, prefix: str) -> bool | None:
        """About writing everything below a prefix: no rule there may forbid it."""
        base = self._by_prefix("key", prefix)
        if base is not None and base < Level.WRITE:
            return False
        rules: Iterable[tuple[str, Level]] = (*grants.exact.items(), *grants.prefix.items())
        if any(level < Level.WRITE for name, level in rules if name.startswith(prefix)):
            return False
        return None if base is None else True

    @staticmethod
    def _every_name(grants: Grants, needed: Level) -> bool | None:
        if any(level < needed for level in (*grants.exact.values(), *grants.prefix.values())):
            return False
        return True if "" in grants.prefix else None

    @staticmethod
    def _any_name(grants: Grants, needed: Level) -> bool | None:
        if any(level >= needed for level in (*grants.exact.values(), *grants.prefix.values())):
            return True
        level = grants.prefix.get("")
        return None if level is None else level >= needed
