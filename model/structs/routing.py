"""Configuration entries that shape traffic: routers, splitters, resolvers."""

from typing import Annotated

from model.codec import OMIT, Duration, Float32, ReadableDuration, Wire


class HTTPHeaderModifiers(Wire, frozen=True):
    """Headers to add, set or remove."""

    add: Annotated[dict[str, str] | None, OMIT] = None
    remove: Annotated[list[str] | None, OMIT] = None
    set: Annotated[dict[str, str] | None, OMIT] = None


class ServiceRouteHTTPMatchHeader(Wire, frozen=True):
    """A condition on a header."""

    exact: Annotated[str, OMIT] = ""
    invert: Annotated[bool, OMIT] = False
    name: str = ""
    prefix: Annotated[str, OMIT] = ""
    present: Annotated[bool, OMIT] = False
    regex: Annotated[str, OMIT] = ""
    suffix: Annotated[str, OMIT] = ""


class ServiceRouteHTTPMatchQueryParam(Wire, frozen=True):
    """A condition on a query parameter."""

    exact: Annotated[str, OMIT] = ""
    name: str = ""
    present: Annotated[bool, OMIT] = False
    regex: Annotated[str, OMIT] = ""


class ServiceRouteHTTPMatch(Wire, frozen=True):
    """Conditions on a request, all of which must hold."""

    header: Annotated[list[ServiceRouteHTTPMatchHeader] | None, OMIT] = None
    methods: Annotated[list[str] | None, OMIT] = None
    path_exact: Annotated[str, OMIT] = ""
    path_prefix: Annotated[str, OMIT] = ""
    path_regex: Annotated[str, OMIT] = ""
    query_param: Annotated[list[ServiceRouteHTTPMatchQueryParam] | None, OMIT] = None


class ServiceRouteMatch(Wire, frozen=True):
    """Which requests a route takes."""

    http: Annotated[ServiceRouteHTTPMatch | None, OMIT] = None


class ServiceRouteDestination(Wire, frozen=True):
    """Where a route sends requests, and how."""

    namespace: Annotated[str, OMIT] = ""
    num_retries: Annotated[int, OMIT] = 0
    partition: Annotated[str, OMIT] = ""
    prefix_rewrite: Annotated[str, OMIT] = ""
    request_headers: Annotated[HTTPHeaderModifiers | None, OMIT] = None
    request_timeout: Annotated[ReadableDuration, OMIT] = 0
    response_headers: Annotated[HTTPHeaderModifiers | None, OMIT] = None
    retry_on: Annotated[list[str] | None, OMIT] = None
    retry_on_connect_failure: Annotated[bool, OMIT] = False
    retry_on_status_codes: Annotated[list[int] | None, OMIT] = None
    service: Annotated[str, OMIT] = ""
    service_subset: Annotated[str, OMIT] = ""


class ServiceRoute(Wire, frozen=True):
    """One route of a service-router."""

    destination: Annotated[ServiceRouteDestination | None, OMIT] = None
    match: Annotated[ServiceRouteMatch | None, OMIT] = None


class ServiceRouterConfigEntry(Wire, frozen=True):
    """service-router: routes by the request."""

    kind: str = ""
    meta: Annotated[dict[str, str] | None, OMIT] = None
    name: str = ""
    routes: Annotated[list[ServiceRoute] | None, OMIT] = None
    create_index: int = 0
    modify_index: int = 0


class ServiceSplit(Wire, frozen=True):
    """One share of a service-splitter."""

    namespace: Annotated[str, OMIT] = ""
    partition: Annotated[str, OMIT] = ""
    request_headers: Annotated[HTTPHeaderModifiers | None, OMIT] = None
    response_headers: Annotated[HTTPHeaderModifiers | None, OMIT] = None
    service: Annotated[str, OMIT] = ""
    service_subset: Annotated[str, OMIT] = ""
    weight: Float32 = 0.0


class ServiceSplitterConfigEntry(Wire, frozen=True):
    """service-splitter: shares of the traffic."""

    kind: str = ""
    meta: Annotated[dict[str, str] | None, OMIT] = None
    name: str = ""
    splits: list[ServiceSplit] | None = None
    create_index: int = 0
    modify_index: int = 0


class CookieConfig(Wire, frozen=True):
    """A cookie that balancing hashes, made when absent."""

    path: Annotated[str, OMIT] = ""
    session: Annotated[bool, OMIT] = False
    ttl: Annotated[Duration, OMIT] = 0


class HashPolicy(Wire, frozen=True):
    """What of a request balancing hashes."""

    cookie_config: Annotated[CookieConfig | None, OMIT] = None
    field: Annotated[str, OMIT] = ""
    field_value: Annotated[str, OMIT] = ""
    source_ip: Annotated[bool, OMIT] = False
    terminal: Annotated[bool, OMIT] = False


class LeastRequestConfig(Wire, frozen=True):
    """How many endpoints least-request balancing compares."""

    choice_count: Annotated[int, OMIT] = 0


class RingHashConfig(Wire, frozen=True):
    """Bounds of the hash ring."""

    maximum_ring_size: Annotated[int, OMIT] = 0
    minimum_ring_size: Annotated[int, OMIT] = 0


class LoadBalancer(Wire, frozen=True):
    """How requests are spread over endpoints."""

    hash_policies: Annotated[list[HashPolicy] | None, OMIT] = None
    least_request_config: Annotated[LeastRequestConfig | None, OMIT] = None
    policy: Annotated[str, OMIT] = ""
    ring_hash_config: Annotated[RingHashConfig | None, OMIT] = None


class ServiceResolverSubset(Wire, frozen=True):
    """A named part of a service's instances."""

    filter: Annotated[str, OMIT] = ""
    only_passing: Annotated[bool, OMIT] = False


class ServiceResolverRedirect(Wire, frozen=True):
    """Another service that stands in for this one."""

    datacenter: Annotated[str, OMIT] = ""
    namespace: Annotated[str, OMIT] = ""
    partition: Annotated[str, OMIT] = ""
    peer: Annotated[str, OMIT] = ""
    service: Annotated[str, OMIT] = ""
    service_subset: Annotated[str, OMIT] = ""


class ServiceResolverFailoverTarget(Wire, frozen=True):
    """One place to fail over to."""

    datacenter: Annotated[str, OMIT] = ""
    namespace: Annotated[str, OMIT] = ""
    partition: Annotated[str, OMIT] = ""
    peer: Annotated[str, OMIT] = ""
    service: Annotated[str, OMIT] = ""
    service_subset: Annotated[str, OMIT] = ""


class ServiceResolverFailover(Wire, frozen=True):
    """Where traffic goes when no instance is healthy."""

    datacenters: Annotated[list[str] | None, OMIT] = None
    namespace: Annotated[str, OMIT] = ""
    service: Annotated[str, OMIT] = ""
    service_subset: Annotated[str, OMIT] = ""
    targets: Annotated[list[ServiceResolverFailoverTarget] | None, OMIT] = None


class ServiceResolverConfigEntry(Wire, frozen=True):
    """service-resolver: which instances a name means."""

    connect_timeout: Annotated[ReadableDuration, OMIT] = 0
    default_subset: Annotated[str, OMIT] = ""
    failover: Annotated[dict[str, ServiceResolverFailover] | None, OMIT] = None
    kind: str = ""
    load_balancer: Annotated[LoadBalancer | None, OMIT] = None
    meta: Annotated[dict[str, str] | None, OMIT] = None
    name: str = ""
    redirect: Annotated[ServiceResolverRedirect | None, OMIT] = None
    subsets: Annotated[dict[str, ServiceResolverSubset] | None, OMIT] = None
    create_index: int = 0
    modify_index: int = 0
