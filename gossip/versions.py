"""Whether members that speak different versions of the protocols can be in one pool.

A version vector is: protocol least, most, current; then the same of serf's protocol ("delegate").
"""

from collections.abc import Sequence
from typing import NamedTuple


class Spoken(NamedTuple):
    """What a member speaks; the bounds of those that are not alive do not count."""

    name: str
    versions: bytes
    alive: bool


def problem_among(members: Sequence[Spoken]) -> str:
    """Why these members do not go together; "" when they do. Vectors have six bytes, or none where a member says none.

    What one speaks now has to be within what all that are alive understand, also for those that are gone.
    """
    for offset, what in ((0, "protocol version"), (3, "delegate protocol version")):
        bounds = [member.versions[offset : offset + 2] for member in members if member.alive and member.versions]
        if not bounds:
            continue
        least, most = max(bound[0] for bound in bounds), min(bound[1] for bound in bounds)
        for member in members:
            current = member.versions[offset + 2] if member.versions else 0
            if not least <= current <= most:
                return f"Node '{member.name}' {what} ({current}) is incompatible: [{least}, {most}]"
    return ""
