"""What a name under the domain asks for. Pure.

<node>.node[.<dc>]            <tag>.<name>.service[.<dc>]     _<name>._<tag|tcp>[.service][.<dc>]
<name>.connect[.<dc>]         <query>.query[.<dc>]            <hex>.addr[.<dc>]      <name>.virtual[.<peer>]
"""

from dataclasses import dataclass

KINDS = ("service", "connect", "ingress", "node", "query", "addr", "virtual")


@dataclass(frozen=True)
class Asked:
    """A name taken apart. `kind` is one of KINDS, "apex" for the zone itself, "empty" for a name that is there but has
    no records, or "" for a name that means nothing."""

    kind: str
    name: str = ""
    tag: str = ""
    datacenter: str = ""
    peer: str = ""


def parse(labels: list[str], own_datacenter: str) -> Asked:
    """Take apart the labels before the domain."""
    if not labels:
        return Asked("apex")
    lower = [label.lower() for label in labels]
    for place in range(len(lower) - 1, max(-1, len(lower) - 4), -1):
        if lower[place] in KINDS and place >= 0:
            after = labels[place + 1 :]
            if lower[place] == "addr" and after[1:] == ["dc"]:
                after = after[:1]
            if len(after) > 1:
                return Asked("")
            if lower[place] == "virtual" and labels[:place]:
                return Asked("virtual", labels[place - 1], "", own_datacenter, peer=after[0] if after else "")
            datacenter = after[0].lower() if after else own_datacenter
            return _of_kind(lower[place], labels[:place], datacenter)
    if len(lower) in (2, 3) and lower[0].startswith("_") and lower[1].startswith("_"):
        datacenter = lower[2] if len(lower) == 3 else own_datacenter
        return _srv(labels[:2], datacenter)
    return Asked("")


def _of_kind(kind: str, labels: list[str], datacenter: str) -> Asked:
    if not labels:
        return Asked("")
    if kind == "node" and len(labels) == 2 and labels[0].startswith("_") and labels[1].startswith("_"):
        return Asked("empty")
    if kind in ("node", "query"):
        return Asked(kind, ".".join(labels), "", datacenter)
    if kind == "addr":
        return Asked(kind, labels[0].lower(), "", datacenter) if len(labels) == 1 else Asked("")
    if kind in ("connect", "ingress"):
        if labels[0].startswith("_") and len(labels) == 2:
            return Asked("")
        return Asked(kind, labels[-1], "", datacenter)
    if len(labels) == 2 and labels[0].startswith("_") and labels[1].startswith("_"):
        return _srv(labels, datacenter)
    return Asked("service", labels[-1], ".".join(labels[:-1]), datacenter)


def _srv(labels: list[str], datacenter: str) -> Asked:
    tag = labels[1][1:]
    if tag.lower() == "tcp":
        tag = ""
    return Asked("service", labels[0][1:], tag, datacenter)
