"""What is wrong with a configuration beyond the types of its values: definitions, keys, entries. Raises ConfigError.

`check_config` is what `lictor validate` asks, `check_start` what an agent asks besides, before it starts.
"""

import ipaddress
import re
from typing import Any

import msgspec

from agent import file_definitions
from agent.checks.rules import problem_with
from agent.config.settings import Config, ConfigError
from agent.definitions import DefinitionError, expand, meta_problem
from model.errors import RpcError
from model.gojson import JsonError
from model.weak_decode import WeakError

_PROTOCOLS = (2, 3)
_RAFT_PROTOCOL = 3


def check_config(config: Config) -> None:
    """Raise ConfigError for what makes a configuration invalid wherever it is used.

    As in Consul, names that are missing and scripts that are not allowed are found when the agent starts.
    """
    problem = meta_problem(config.node_meta)
    if problem:
        raise ConfigError(f"node_meta invalid: {problem}")
    if config.raft_protocol != _RAFT_PROTOCOL:
        raise ConfigError(f"raft_protocol version {config.raft_protocol} is not supported: it must be {_RAFT_PROTOCOL}")
    if config.check_output_max_size < 1:
        raise ConfigError(
            "check_output_max_size must be positive, to discard check output use the discard_check_output flag"
        )
    for number, raw in enumerate(config.services):
        _check_service(f"services[{number}]", raw)
    for number, raw in enumerate(config.checks):
        _check_check(f"checks[{number}]", raw)
    for number, raw in enumerate(config.config_entries):
        _check_entry(f"config_entries.bootstrap[{number}]", raw)


def _check_service(where: str, raw: dict[str, Any]) -> None:
    try:
        definition = file_definitions.service(raw)
        if not definition.name:
            definition = msgspec.structs.replace(definition, name="nameless")
        expand(definition, "node", scripts_allowed=True, free_port=lambda _: 1)
    except (JsonError, DefinitionError) as error:
        raise ConfigError(f"{where}: {error}") from None


def _check_check(where: str, raw: dict[str, Any]) -> None:
    try:
        problem = problem_with(file_definitions.check(raw).check)
    except JsonError as error:
        raise ConfigError(f"{where}: {error}") from None
    if problem:
        raise ConfigError(f"{where}: {problem}")


def _check_entry(where: str, raw: dict[str, Any]) -> None:
    from agent.http.config_entries import parse_entry  # Few configurations have entries, and these imports are long.
    from server.endpoints.config_entries import normal

    try:
        normal(parse_entry(raw))
    except (WeakError, RpcError) as error:
        raise ConfigError(f"{where}: {error}") from None


def check_start(config: Config) -> None:
    """Raise ConfigError for what keeps an agent from starting although `lictor validate` lets it pass."""
    if config.node_id and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", config.node_id):
        raise ConfigError(f'node_id: "{config.node_id}" is no UUID')
    if config.protocol not in _PROTOCOLS:
        raise ConfigError(f"protocol: version {config.protocol} is not supported: it must be 2 or 3")
    for recursor in config.recursors:
        _check_recursor(recursor)
    for name, port in (("serf_lan", config.ports.serf_lan), ("server", config.ports.server)):
        if port <= 0 and (name == "serf_lan" or config.server):
            raise ConfigError(f"ports.{name} cannot be {port}: other agents have to reach it", exit_code=2)


def _check_recursor(text: str) -> None:
    host, port = text, "53"
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        ipaddress.ip_address(host)
        usable = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"recursors: {text!r} is no IP address with or without a port", exit_code=2)
