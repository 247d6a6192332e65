"""The configuration that an agent shows of itself."""

import json
from types import SimpleNamespace
from typing import Any

from agent.config.load import load_config
from agent.config.settings import Config
from agent.debug_config import debug_config


def shown_config(config: Config, node_id: str) -> dict[str, Any]:
    return debug_config(SimpleNamespace(config=config, node_id=node_id))  # type: ignore[arg-type]


def test_addresses_are_shown_as_clients_parse_them() -> None:
    words = ["-server", "-data-dir=/tmp/none", "-bind=127.0.0.1", "-serf-lan-port=7301", "-serf-wan-port=7302"]
    config, _ = load_config([*words, "-serf-wan-bind=127.0.0.2", "-dns-port=8653", "-client=::1"])
    shown = shown_config(config, "some-id")
    assert shown["SerfAdvertiseAddrLAN"] == shown["SerfBindAddrLAN"] == "tcp://127.0.0.1:7301"
    assert shown["SerfBindAddrWAN"] == "tcp://127.0.0.2:7302"
    assert shown["RPCAdvertiseAddr"] == "tcp://127.0.0.1:8300"
    assert shown["DNSAddrs"] == ["tcp://[::1]:8653", "udp://[::1]:8653"]
    assert shown["HTTPAddrs"] == ["tcp://[::1]:8500"] and shown["HTTPSAddrs"] == []


def test_a_pool_that_the_agent_is_not_in_has_no_address() -> None:
    config, _ = load_config(["-data-dir=/tmp/none", "-bind=127.0.0.1", "-serf-wan-port=-1"])
    shown = shown_config(config, "some-id")
    assert shown["SerfPortWAN"] == -1 and "SerfAdvertiseAddrWAN" not in shown


def test_durations_are_texts() -> None:
    config, _ = load_config(["-dev", '-hcl=dns_config { service_ttl { web = "90s" } } leave_on_terminate = true'])
    shown = shown_config(config, "some-id")
    assert shown["DNSServiceTTL"] == {"web": "1m30s"} and shown["DNSMaxStale"] == "87600h0m0s"
    assert (shown["LeaveOnTerm"], shown["MaxQueryTime"], shown["RPCHoldTimeout"]) == (True, "10m0s", "7s")


def test_no_secret_is_shown() -> None:
    config, _ = load_config(
        [
            *("-dev", "-encrypt=MDEyMzQ1Njc4OWFiY2RlZg=="),
            '-hcl=http_config { response_headers { X-Key = "sesame" } } '
            'ui_config { enabled = true metrics_proxy { base_url = "http://me:sesame@127.0.0.1/" } }',
        ]
    )
    shown = json.dumps(shown_config(config, "some-id"))
    assert "sesame" not in shown and "MDEy" not in shown
