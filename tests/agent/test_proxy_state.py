"""The proxy-state document of the agent: settings of a proxy that nobody judged when it was registered."""

from pathlib import Path
from typing import Any

import pytest

from agent.proxy_state import number_of
from tests.support.process import dev_agent


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((8080, 8080), ("8080", 8080), (1.5, 1.5), (None, 7), ("x", 7), ([1], 7), ({}, 7), (True, 7), (-1, 7)),
        *((1e400, 7), ("nan", 7), (10**400, 7), ("70000", 7)),
    ],
)
def test_numbers_in_free_form_settings(value: object, number: float) -> None:
    assert number_of({"bind_port": value}, "bind_port", 0, 65535, 7) == number


def test_settings_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    with dev_agent(tmp_path, connect={"enabled": True}) as agent:
        agent.json("PUT", "/v1/agent/service/register", {"Name": "web", "Port": 1})

        def state(settings: Any, upstream: Any) -> tuple[str, int, float]:
            """Address and port of the listener, and the time-out of the upstream, once the agent has taken it over."""
            proxy = {
                "DestinationServiceName": "web",
                "LocalServicePort": 1,
                "Config": settings,
                "Upstreams": [{"DestinationName": "db", "LocalBindPort": 9, "Config": upstream}],
            }
            body = {"Name": "proxy", "Kind": "connect-proxy", "Port": 20001, "Address": "10.0.0.1", "Proxy": proxy}
            agent.json("PUT", "/v1/agent/service/register", body)
            found = agent.json("GET", "/v1/agent/connect/proxy-state/proxy?wait=10s")
            listener = found["public"]
            return listener["bind_address"], listener["bind_port"], found["upstreams"][0]["connect_timeout"]

        assert state({}, {}) == ("10.0.0.1", 20001, 5.0)
        assert state({"bind_port": "20002", "bind_address": "10.0.0.2"}, {"connect_timeout_ms": "2000"}) == (
            "10.0.0.2",
            20002,
            2.0,
        )
        for nonsense in ("x", [1], {}, 10**30):
            assert state({"bind_port": nonsense, "bind_address": [1]}, {"connect_timeout_ms": nonsense}) == (
                "10.0.0.1",
                20001,
                5.0,
            )
