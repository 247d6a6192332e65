"""What can be watched: for each type the question that is asked again and again, and how its answer is shown."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class WrongWatch(ValueError):
    """The parameters do not describe a watch; the text says why."""


class Question(NamedTuple):
    """What to ask again and again, and how to show the answer; `resets`: an index that goes back begins anew."""

    path: str
    params: dict[str, Any]
    show: Callable[[Any], Any]
    resets: bool = True


# Answers, in the shape in which Consul's own clients show them.

_DEFINITION: dict[str, Any] = {
    **dict.fromkeys(("Interval", "Timeout", "DeregisterCriticalServiceAfter"), "0s"),
    "HTTP": "", "Header": None, "Method": "", "Body": "", "TLSServerName": "", "TLSSkipVerify": False,
    "TCP": "", "UDP": "", "GRPC": "", "OSService": "", "GRPCUseTLS": False,
}


def _check(row: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in row.items() if key not in ("Interval", "Timeout")}
    return {**shown, "Definition": {**_DEFINITION, **(row.get("Definition") or {})}}


def _instance(row: dict[str, Any]) -> dict[str, Any]:
    service = dict(row["Service"])
    if not service.get("PeerName"):
        service.pop("PeerName", None)
    if service.get("Proxy"):
        service["Proxy"] = {key: value for key, value in service["Proxy"].items() if key != "Mode" or value}
    return {"Node": row["Node"], "Service": service, "Checks": [_check(one) for one in row["Checks"]]}


def _as_it_is(answer: Any) -> Any:
    return answer


def _pair(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "Session": row.get("Session", "")}


def _first_pair(answer: Any) -> Any:
    return _pair(answer[0]) if answer else None


def _pairs(answer: Any) -> Any:
    return [_pair(row) for row in answer] if answer else None


def _checks(answer: Any) -> Any:
    return [_check(row) for row in answer or []]


def _instances(answer: Any) -> Any:
    return [_instance(row) for row in answer or []]


# Questions

Given = Mapping[str, Any]
"""The parameters that were given (none of them empty)."""


def _one(given: Given, name: str, what: str) -> str:
    if name not in given:
        raise WrongWatch(f"Must specify a single {what} to watch")
    return str(given[name])


def _key(given: Given) -> Question:
    return Question(f"/v1/kv/{_one(given, 'key', 'key').lstrip('/')}", {}, _first_pair)


def _keyprefix(given: Given) -> Question:
    return Question(f"/v1/kv/{_one(given, 'prefix', 'prefix').lstrip('/')}", {"recurse": True}, _pairs)


def _services(given: Given) -> Question:
    return Question("/v1/catalog/services", {}, _as_it_is)


def _nodes(given: Given) -> Question:
    return Question("/v1/catalog/nodes", {}, _as_it_is)


def _service(given: Given) -> Question:
    name = _one(given, "service", "service")
    text = given.get("passingonly", "false")
    if text not in ("1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"):
        raise WrongWatch(f'invalid passingonly value "{text}": it must be true or false')
    passing = text.lower() in ("1", "t", "true")
    return Question(f"/v1/health/service/{name}", {"tag": given.get("tag", []), "passing": passing}, _instances)


def _check_list(given: Given) -> Question:
    if "service" in given and "state" in given:
        raise WrongWatch("Cannot specify service and state")
    if "service" in given:
        return Question(f"/v1/health/checks/{given['service']}", {}, _checks)
    return Question(f"/v1/health/state/{given.get('state', 'any')}", {}, _checks)


def _events(given: Given) -> Question:
    # The index of events is a fingerprint of the newest one, so it goes up and down.
    return Question("/v1/event/list", {"name": given.get("name")}, _as_it_is, resets=False)


TYPES: dict[str, tuple[Callable[[Given], Question], tuple[str, ...]]] = {
    "key": (_key, ("key",)),
    "keyprefix": (_keyprefix, ("prefix",)),
    "services": (_services, ()),
    "nodes": (_nodes, ()),
    "service": (_service, ("service", "tag", "passingonly")),
    "checks": (_check_list, ("service", "state")),
    "event": (_events, ("name",)),
}
"""The types of watches: what they ask, and the parameters that they take."""


def question(kind: str, given: Given) -> Question:
    """What a watch asks. Raises WrongWatch."""
    if not kind:
        raise WrongWatch("Watch type must be specified")
    if kind not in TYPES:
        raise WrongWatch(f"Unsupported watch type: {kind}")
    make, names = TYPES[kind]
    foreign = sorted(set(given) - set(names))
    if foreign:
        raise WrongWatch(f"Invalid parameters: [{' '.join(foreign)}]")
    return make(given)


def next_index(before: int, answered: int, resets: bool) -> int:
    """The index to wait for next; 0 asks at once, because what the cluster knew was replaced."""
    return 0 if resets and answered < before else answered
