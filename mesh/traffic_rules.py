"""What a service-router, service-splitter or service-resolver must look like by itself, and its stored form.

How entries fit together is the matter of `chains.py`. Functions named `normal_…` return the entry as it is stored and
raise RpcError for the first thing that is wrong with it.

Source: error texts as recorded from Consul 1.14, lists of allowed values from its documentation.
"""

import re
from collections.abc import Sequence

import msgspec

from model.durations import format_duration
from model.errors import RpcError
from model.filter import FilterError
from model.filter.grammar import parse as parse_filter
from model.structs.routing import (
    HashPolicy,
    LoadBalancer,
    ServiceResolverConfigEntry,
    ServiceResolverFailover,
    ServiceResolverFailoverTarget,
    ServiceResolverRedirect,
    ServiceRoute,
    ServiceRouteHTTPMatch,
    ServiceRouterConfigEntry,
    ServiceSplitterConfigEntry,
)

_SUBSET_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"))
_RETRY_ON = frozenset(
    (
        *("5xx", "gateway-error", "reset", "connect-failure", "envoy-ratelimited", "retriable-4xx", "refused-stream"),
        *("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"),
    )
)
_BALANCING = frozenset(("", "random", "round_robin", "least_request", "ring_hash", "maglev"))
_HASHING = frozenset(("ring_hash", "maglev"))
_HASH_FIELDS = frozenset(("header", "cookie", "query_parameter"))


def require_name(name: str) -> None:
    """Raise RpcError unless an entry has a name."""
    if not name:
        raise RpcError("Name is required")


# Resolvers


def normal_resolver(entry: ServiceResolverConfigEntry) -> ServiceResolverConfigEntry:
    """The stored form of a service-resolver."""
    require_name(entry.name)
    for subset, definition in (entry.subsets or {}).items():
        _check_subset(subset, definition.filter)
    if not _has_subset(entry, entry.default_subset):
        raise RpcError(f'DefaultSubset "{entry.default_subset}" is not a valid subset')
    if entry.redirect is not None:
        _check_redirect(entry, entry.redirect)
    for subset, failover in (entry.failover or {}).items():
        _check_failover(entry, subset, failover)
    if entry.connect_timeout < 0:
        raise RpcError(f"Bad ConnectTimeout '{format_duration(entry.connect_timeout)}', must be >= 0")
    if entry.load_balancer is not None:
        _check_balancer(entry.load_balancer)
    return msgspec.structs.replace(entry, kind="service-resolver")


def _check_subset(name: str, expression: str) -> None:
    if not name:
        raise RpcError("Subset defined with empty name")
    if not _SUBSET_NAME.fullmatch(name):
        raise RpcError(
            f'Subset "{name}" is invalid: must be 63 characters or fewer, begin or end with lower case alphanumeric '
            "characters, and contain lower case alphanumeric characters or '-' in between"
        )
    if expression:
        try:
            parse_filter(expression)
        except FilterError as error:
            raise RpcError(f'Filter for subset "{name}" is not a valid expression: {error}') from None


def _has_subset(entry: ServiceResolverConfigEntry, name: str) -> bool:
    return not name or name in (entry.subsets or {})


def _check_redirect(entry: ServiceResolverConfigEntry, redirect: ServiceResolverRedirect) -> None:
    if redirect == ServiceResolverRedirect():
        raise RpcError("Redirect is empty")
    for field, value in (("Namespace", redirect.namespace), ("Partition", redirect.partition)):
        if value not in ("", "default"):
            raise RpcError(f"Redirect: Setting {field} requires Consul Enterprise")
    if redirect.peer:
        taken = {"ServiceSubset": redirect.service_subset, "Datacenter": redirect.datacenter}
        for field, value in taken.items():
            if value:
                raise RpcError(f"Redirect.Peer cannot be set with Redirect.{field}")
    if not redirect.service:
        for field, value in (
            ("ServiceSubset", redirect.service_subset),
            ("Namespace", redirect.namespace),
            ("Partition", redirect.partition),
            ("Peer", redirect.peer),
        ):
            if value:
                raise RpcError(f"Redirect.{field} defined without Redirect.Service")
    elif redirect.service == entry.name and not _has_subset(entry, redirect.service_subset):
        raise RpcError(
            f'Redirect.ServiceSubset "{redirect.service_subset}" is not a valid subset of "{redirect.service}"'
        )
    if entry.failover:
        raise RpcError("Redirect and Failover cannot both be set")


def _check_failover(entry: ServiceResolverConfigEntry, subset: str, failover: ServiceResolverFailover) -> None:
    bad = f'Bad Failover["{subset}"]'
    if subset != "*" and subset not in (entry.subsets or {}):
        raise RpcError(f"{bad}: not a valid subset subset")
    if failover == ServiceResolverFailover():
        raise RpcError(f"{bad}: one of Service, ServiceSubset, Namespace, Targets, or Datacenters is required")
    if failover.namespace not in ("", "default"):
        raise RpcError(f"{bad}: Setting Namespace requires Consul Enterprise")
    if failover.service in ("", entry.name) and not _has_subset(entry, failover.service_subset):
        raise RpcError(
            f'{bad}: ServiceSubset "{failover.service_subset}" is not a valid subset of "{failover.service}"'
        )
    if "" in (failover.datacenters or ()):
        raise RpcError(f"{bad}.Datacenters: found empty datacenter")
    if failover.targets:
        for field, value in (
            ("Service", failover.service),
            ("ServiceSubset", failover.service_subset),
            ("Namespace", failover.namespace),
            ("Datacenters", failover.datacenters),
        ):
            if value:
                raise RpcError(f"{bad}: Targets cannot be set with {field}")
        for number, target in enumerate(failover.targets):
            _check_target(entry, f"{bad}.Targets[{number}]", target)


def _check_target(entry: ServiceResolverConfigEntry, bad: str, target: ServiceResolverFailoverTarget) -> None:
    if target == ServiceResolverFailoverTarget():
        raise RpcError(f"{bad}: one of Service, ServiceSubset, Namespace, Partition, Peer or Datacenter is required")
    if target.peer:
        for field, value in (
            ("ServiceSubset", target.service_subset),
            ("Partition", target.partition),
            ("Datacenter", target.datacenter),
        ):
            if value:
                raise RpcError(f"{bad}: Peer cannot be set with {field}")
    for field, value in (("Namespace", target.namespace), ("Partition", target.partition)):
        if value not in ("", "default"):
            raise RpcError(f"{bad}: Setting {field} requires Consul Enterprise")
    if target.service in ("", entry.name) and not _has_subset(entry, target.service_subset):
        raise RpcError(f'{bad}: ServiceSubset "{target.service_subset}" is not a valid subset of "{entry.name}"')


def _check_balancer(balancer: LoadBalancer) -> None:
    policy = balancer.policy
    if policy not in _BALANCING:
        raise RpcError(f'Bad LoadBalancer policy: "{policy}" is not supported')
    for field, value, wanted in (
        ("RingHashConfig", balancer.ring_hash_config, "ring_hash"),
        ("LeastRequestConfig", balancer.least_request_config, "least_request"),
    ):
        if value is not None and policy != wanted:
            raise RpcError(
                f'Bad LoadBalancer configuration. {field} specified for incompatible load balancing policy "{policy}"'
            )
    if balancer.hash_policies and policy not in _HASHING:
        raise RpcError(f'Bad LoadBalancer configuration: HashPolicies specified for non-hash-based Policy: "{policy}"')
    for number, hashed in enumerate(balancer.hash_policies or ()):
        problem = _hash_policy_problem(hashed)
        if problem:
            raise RpcError(f"Bad LoadBalancer HashPolicy[{number}]: {problem}")


def _hash_policy_problem(policy: HashPolicy) -> str:
    cookie = policy.cookie_config
    if policy.field and policy.field not in _HASH_FIELDS:
        return f'"{policy.field}" is not a supported field'
    if policy.source_ip and policy.field:
        return f'A single hash policy cannot hash both a source address and a "{policy.field}"'
    if policy.field and not policy.field_value:
        return f'Field "{policy.field}" was specified without a FieldValue'
    if policy.field_value and not policy.field:
        return "FieldValue requires a Field to apply to"
    if cookie is not None and policy.field != "cookie":
        return f'cookie_config provided for "{policy.field}"'
    if cookie is not None and cookie.session and cookie.ttl:
        return "a session cookie cannot have an associated TTL"
    return ""


# Splitters


def normal_splitter(entry: ServiceSplitterConfigEntry) -> ServiceSplitterConfigEntry:
    """The stored form of a service-splitter: weights are rounded to hundredths, and an own subset names no service."""
    require_name(entry.name)
    if not entry.splits:
        raise RpcError("no splits configured")
    splits = [msgspec.structs.replace(split, weight=round(split.weight * 100) / 100) for split in entry.splits]
    seen = set()
    for split in splits:
        _check_weight(split.weight)
        where = (split.service or entry.name, split.service_subset, split.namespace, split.partition)
        if where in seen:
            raise RpcError(
                f'split destination occurs more than once: service="{where[0]}", subset="{where[1]}", '
                f'namespace="{where[2]}", partition="{where[3]}"'
            )
        seen.add(where)
    total = sum(round(split.weight * 100) for split in splits)
    if total != 100_00:
        raise RpcError(f"the sum of all split weights must be 100, not {total / 100:f}")
    return msgspec.structs.replace(entry, kind="service-splitter", splits=splits)


def _check_weight(weight: float) -> None:
    if not 0 <= weight <= 100:
        raise RpcError("all weights must be either 0 or in the range 0.01 to 100")


# Routers


def normal_router(entry: ServiceRouterConfigEntry) -> ServiceRouterConfigEntry:
    """The stored form of a service-router: methods are in capitals."""
    require_name(entry.name)
    routes = [_with_methods_in_capitals(route) for route in entry.routes or ()]
    for number, route in enumerate(routes):
        problem = _route_problem(route)
        if problem:
            raise RpcError(f"Route[{number}] {problem}")
    return msgspec.structs.replace(entry, kind="service-router", routes=routes or None)


def _with_methods_in_capitals(route: ServiceRoute) -> ServiceRoute:
    match = route.match
    if match is None or match.http is None or not match.http.methods:
        return route
    http = msgspec.structs.replace(match.http, methods=[method.upper() for method in match.http.methods])
    return msgspec.structs.replace(route, match=msgspec.structs.replace(match, http=http))


def _route_problem(route: ServiceRoute) -> str:
    http = route.match.http if route.match is not None else None
    destination = route.destination
    problem = http_match_problem(http) if http is not None else ""
    if problem or destination is None:
        return problem
    if destination.prefix_rewrite and (http is None or not (http.path_exact or http.path_prefix)):
        return "cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix"
    for condition in destination.retry_on or ():
        if condition not in _RETRY_ON:
            return f'contains an invalid retry condition: "{condition}"'
    return ""


def http_match_problem(http: ServiceRouteHTTPMatch) -> str:
    """What is wrong with the conditions of a route, or ""."""
    for field, path in (("PathExact", http.path_exact), ("PathPrefix", http.path_prefix)):
        if path and not path.startswith("/"):
            return f"{field} doesn't start with '/': \"{path}\""
    if _count((http.path_exact, http.path_prefix, http.path_regex)) > 1:
        return "should only contain at most one of PathExact, PathPrefix, or PathRegex"
    for number, header in enumerate(http.header or ()):
        if not header.name:
            return f"Header[{number}] missing required Name field"
        if _count((header.present, header.exact, header.prefix, header.suffix, header.regex)) > 1:
            return f"Header[{number}] should only contain one of Present, Exact, Prefix, Suffix, or Regex"
    for number, parameter in enumerate(http.query_param or ()):
        if not parameter.name:
            return f"QueryParam[{number}] missing required Name field"
        if _count((parameter.present, parameter.exact, parameter.regex)) > 1:
            return f"QueryParam[{number}] should only contain one of Present, Exact, or Regex"
    return _methods_problem(http.methods or ())


def _methods_problem(methods: Sequence[str]) -> str:
    seen = set()
    for method in methods:
        if method not in _METHODS:
            return f'Methods contains an invalid method "{method}"'
        if method in seen:
            return f'Methods contains "{method}" more than once'
        seen.add(method)
    return ""


def _count(values: Sequence[str | bool]) -> int:
    return sum(1 for value in values if value)
