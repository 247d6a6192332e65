"""What a check's definition says: its kind, whether it can be run, what the catalog shows of it. Pure."""

from model.durations import SECOND, format_duration
from model.structs.catalog import CheckType

MIN_INTERVAL = 1 * SECOND
"""A check that is to run more often runs this often."""


def kind_of(check: CheckType) -> str:
    """A check's type as the catalog shows it, "" for one that has none."""
    kinds = (
        ("ttl", check.ttl > 0),
        ("http", check.http),
        ("tcp", check.tcp),
        ("udp", check.udp),
        ("docker", check.docker_container_id and check.script_args),
        ("script", check.script_args),
        ("grpc", check.grpc),
        ("h2ping", check.h2ping),
        ("os_service", check.os_service),
        ("alias", is_alias(check)),
    )
    return next((kind for kind, value in kinds if value), "")


def is_alias(check: CheckType) -> bool:
    """Whether a check stands for another service or node."""
    return bool(check.alias_node or check.alias_service)


def problem_with(check: CheckType) -> str:
    """Why a definition cannot be run; "" when it can."""
    asks = bool(
        check.script_args or check.http or check.tcp or check.udp or check.grpc or check.h2ping or check.os_service
    )
    if check.interval > 0 and check.ttl > 0:
        return "Interval and TTL cannot both be specified"
    if asks and check.interval <= 0:
        return "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
    if asks and is_alias(check):
        return "Interval cannot be set for Alias checks"
    if is_alias(check) and check.ttl > 0:
        return "TTL must be not be set for Alias checks"
    if not asks and not is_alias(check) and check.ttl <= 0:
        return "TTL must be > 0 for TTL checks"
    if check.output_max_size < 0:
        return "MaxOutputMaxSize must be positive"
    if check.failures_before_warning > check.failures_before_critical:
        return "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
    return ""


def shown_interval(check: CheckType, own: bool) -> tuple[str, str]:
    """Interval and time-out as the catalog shows them; `own` marks one defined by itself, not inside a service."""
    if own:
        return format_duration(check.interval), format_duration(check.timeout)
    interval = format_duration(check.interval) if check.interval else ""
    return interval, format_duration(check.timeout) if check.timeout else ""
