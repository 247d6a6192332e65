"""Log lines as they come: levels, formats, slow readers, clients that go away."""

import asyncio
import http.client
import json
import logging
import signal
import threading
from collections.abc import Iterator

import pytest

from agent.logs import subscribed
from tests.support.process import Agent, dev_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent"), log_level="WARN") as running:
        yield running


async def test_a_subscription_has_a_level_of_its_own() -> None:
    root = logging.getLogger("lictor")
    before = root.level
    log = logging.getLogger("lictor.test")
    with subscribed("DEBUG", False) as fine, subscribed("ERROR", True) as coarse:
        log.debug("small")
        log.error("large")
        lines = await fine.lines(5)
        assert [line.partition("Z ")[2] for line in lines] == [
            "[DEBUG] agent.test: small",
            "[ERROR] agent.test: large",
        ]
        assert [json.loads(line)["@message"] for line in await coarse.lines(5)] == ["large"]
    assert root.level == before or not root.handlers


async def test_what_is_not_read_in_time_is_dropped_and_counted() -> None:
    log = logging.getLogger("lictor.test")
    with subscribed("INFO", False) as subscription:
        await asyncio.to_thread(lambda: [log.warning("line %d", number) for number in range(600)])
        await asyncio.sleep(0)
        lines = await subscription.lines(5)
    assert len(lines) == 513 and lines[-1].startswith("... 88 lines were dropped")


def test_levels_are_checked(agent: Agent) -> None:
    assert agent.request("GET", "/v1/agent/monitor?loglevel=loud") == (400, b"Unknown log level: loud")
    refused = agent.cli("monitor", "-log-level=loud")
    assert refused.returncode == 1 and "Unknown log level: loud" in refused.stderr
    nobody = agent.cli("monitor", "-http-addr=127.0.0.1:1")
    assert nobody.returncode == 1 and "connection refused" in nobody.stderr


def test_more_is_seen_than_the_agent_logs_itself(agent: Agent) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", agent.ports["http"], timeout=60)
    connection.request("GET", "/v1/agent/monitor?loglevel=info&logjson")
    response = connection.getresponse()
    assert response.status == 200
    assert agent.request("PUT", "/v1/agent/reload")[0] == 200
    seen = json.loads(response.readline())
    assert seen["@level"] == "info"
    connection.close()
    assert "[INFO]" not in agent.log.read_text()


def test_the_command_goes_on_until_it_is_stopped(agent: Agent) -> None:
    with agent.running("monitor", "-log-level=info") as one:
        assert one.stdout is not None
        shown = threading.Event()

        def provoke() -> None:
            while not shown.wait(0.2):  # Until the monitor is there to see one.
                agent.request("PUT", "/v1/agent/reload")

        provoking = threading.Thread(target=provoke)
        provoking.start()
        line = one.stdout.readline()
        shown.set()
        provoking.join()
        assert "[INFO]" in line
        one.send_signal(signal.SIGINT)
        assert one.wait(60) == 0
