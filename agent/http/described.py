"""What a route takes and answers, said beside its handler: the material of the OpenAPI document.

Types are written as Python knows them: a `Wire` struct, `list[str]`, `dict[str, Any]`, `X | None`; and, where there is
no struct, by example: `{"ID": str}` is an object with that member, `[str]` an array. Nothing here is looked at when a
request is answered.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

ParamKind = Literal["text", "number", "flag", "truth", "duration"]
"""`flag`: it is there or not, whatever its value; `truth`: true or false; `duration`: such as `10s`."""


class Param(NamedTuple):
    """A query parameter; `many`: it may be given several times; `choice`: the only values it may have."""

    name: str
    text: str
    kind: ParamKind = "text"
    many: bool = False
    required: bool = False
    choice: tuple[str, ...] = ()


class Raw(NamedTuple):
    """A body that is not JSON: its content type, and what it is."""

    content_type: str
    text: str


class NoBody(str):
    """When there is an error without a body."""


@dataclass(frozen=True)
class Operation:
    """One form of a route.

    `rest` is a template for what follows a prefix route's path, such as `{kind}/{name}`; `body` and `answer` are types
    (see above), `Raw`, or None for nothing; `also` lists content types that the answer may have beside JSON; `statuses`
    says when the answer has another status than 200; `summary` takes the place of the handler's docstring.
    """

    rest: str | None = None
    query: tuple[Param, ...] = ()
    body: Any = None
    answer: Any = None
    also: tuple[str, ...] = ()
    statuses: dict[int, str] = field(default_factory=dict)
    summary: str = ""


# What many routes take

DC = Param("dc", "Datacenter to ask; the agent's own without it.")
STALE = Param("stale", "Any server may answer, not only the leader.", "flag")
CONSISTENT = Param("consistent", "The leader makes sure first that it still leads.", "flag")
MAX_STALE = Param("max_stale", "Like `stale`, for answers at most this old.", "duration")
INDEX = Param("index", "Wait until the answer's `X-Consul-Index` is above this.", "number")
WAIT = Param("wait", "How long to wait with `index`, at most 10 minutes.", "duration")
FILTER = Param("filter", "Expression that rows must match.")
NEAR = Param("near", "Sort by distance from this node; `_agent` is the agent asked.")
NODE_META = Param("node-meta", "`key:value` that the node must have.", many=True)
CACHED = Param("cached", "The agent may answer from its cache; see `Cache-Control`.", "flag")
PEER = Param("peer", "Cluster that the instances were imported from.")
MERGE = Param("merge-central-config", "Accepted; configuration entries are not merged in yet.", "flag")
CAS = Param("cas", "Only if the entry's ModifyIndex is still this; 0: only if there is none.", "number")
NOTE = Param("note", "Text that becomes the check's output.")
HASH = Param("hash", "Wait until the answer's hash is another one than this.")

ASK = (DC, STALE, CONSISTENT, MAX_STALE)
"""Which server answers, and how sure it has to be."""
READ = (*ASK, INDEX, WAIT)
"""A read that can wait for a change."""
ROWS = (*READ, FILTER)
"""A read of rows that can be filtered."""
WRITE = (DC,)
