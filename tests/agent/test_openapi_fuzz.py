"""What `/v1/openapi.json` says, against an agent: requests made from it, and answers judged by it (schemathesis).

Consul answers many a bad request with 500, so a status is no fault by itself; one that is not declared is, and so is
an answer of another form, an exception that nothing in the agent expects, an answer that does not come, and memory,
tasks or descriptors that are not given back.

    LICTOR_FUZZ_REQUESTS=10000 LICTOR_FUZZ_SEED=7 .venv/bin/python -m pytest tests/agent/test_openapi_fuzz.py
"""

from __future__ import annotations

import os
import random
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.support.netns import Island
from tests.support.process import Agent, dev_agent
from tests.support.usage import Usage, unexpected, usage

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import schemathesis
    from schemathesis.checks import load_all_checks
    from schemathesis.core.failures import Failure, FailureGroup
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

REQUESTS = int(os.environ.get("LICTOR_FUZZ_REQUESTS", "1000"))
SEED = int(os.environ.get("LICTOR_FUZZ_SEED", "1"))
LEFT_OUT = frozenset(
    (
        "PUT /v1/agent/leave",  # Ends the agent.
        "GET /v1/agent/monitor",  # Has no end; test_monitor.py has it.
        "GET /v1/agent/metrics/stream",  # The same.
    )
)
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
NAMES = ("node1", "web", "web-1", "consul", "global", "service-defaults", "any", "passing", "dc1", "_agent", "alice")
"""What a path's part is now and then, so that something is found there."""
MOSTLY_WRONG = ("dc", "filter", "peer", "near")
"""Query parameters that hardly any text fits; most requests go without them, to get further."""
OFF = ("/v1/acl/", "/v1/peering")
"""Features that are off and refuse whatever is asked: one request in a round is enough."""
MAX_GROWTH = 48 << 20
"""Bytes by which the agent may grow after the first tenth; what the requests store is among them."""


@schemathesis.serializer("application/x-gzip")
def _archive(context: Any, value: Any) -> Any:
    """No archive at all; `tests/state/test_hostile_archives.py` has better ones."""
    return value if isinstance(value, bytes) else repr(value).encode("utf-8", "replace")


class Round:
    """Some requests to every operation, and what was wrong with the answers."""

    def __init__(self, agent: Agent, number: int) -> None:
        self.problems: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()
        self.cached = 0
        """How many answers came by way of the agent's cache, which keeps each question up in a task for a while."""
        self._random = random.Random(SEED * 1000 + number)
        self._session = requests.Session()
        self._base = f"http://127.0.0.1:{agent.ports['http']}"

    def run(self, operation: Any, mode: Any, count: int, number: int) -> None:
        """So many requests to an operation."""

        @seed(SEED * 1000 + number)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            self._ask(operation.label, case)

        ask()

    def _ask(self, label: str, case: Any) -> None:
        for name in case.path_parameters or ():
            if self._random.random() < 0.5:
                case.path_parameters[name] = self._random.choice(NAMES)
        for name in MOSTLY_WRONG:
            if isinstance(case.query, dict) and self._random.random() < 0.7:
                case.query.pop(name, None)
        prepared = requests.Request(**case.as_transport_kwargs(base_url=self._base)).prepare()
        shown = f"{prepared.method} {prepared.path_url} {prepared.body!r}"[:2000]
        try:
            response = self._session.send(prepared, timeout=60, allow_redirects=False)
        except requests.RequestException as error:
            self.problems.setdefault(label, f"{shown}\nno answer: {error!r}")
            return
        self.statuses[response.status_code] += 1
        self.cached += "X-Cache" in response.headers
        if response.status_code in (301, 400) and not response.content:
            return  # Paths that are cleaned, or hold a NUL, say nothing about the operation.
        if response.status_code == 301:
            return
        if response.status_code == 404 and b"not a recognized HTTP API endpoint" in response.content:
            return
        try:
            case.validate_response(schemathesis.Response.from_requests(response, verify=False), checks=CHECKS)
        except (Failure, FailureGroup) as failure:
            parts = failure.exceptions if isinstance(failure, FailureGroup) else [failure]
            said = "\n".join(f"{part.title}: {part.message}" for part in parts)[:1500]
            self.problems.setdefault(label, f"{shown}\n{response.status_code} {response.content[:300]!r}\n{said}")


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    # What is registered may name addresses anywhere: nothing gets out of here.
    with Island() as island, island.inside():
        settings: dict[str, Any] = {"default_query_time": "20ms", "max_query_time": "20ms", "log_level": "WARN"}
        with dev_agent(tmp_path_factory.mktemp("agent"), **settings) as running:
            yield running


def _clean(agent: Agent) -> None:
    """Take away what the requests registered."""
    for kind, path in (("services", "service"), ("checks", "check")):
        for name in agent.json("GET", f"/v1/agent/{kind}"):
            quoted = requests.utils.quote(name, safe="")
            agent.request("PUT", f"/v1/agent/{path}/deregister/{quoted}")
    for row in agent.json("GET", "/v1/session/list"):
        agent.json("PUT", f"/v1/session/destroy/{row['ID']}")
    agent.json("DELETE", "/v1/kv/?recurse")


@pytest.mark.slow
@pytest.mark.timeout(max(600, REQUESTS // 5))
def test_answers_are_as_described(agent: Agent, tmp_path: Path) -> None:
    load_all_checks()
    document = agent.json("GET", "/v1/openapi.json")
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    operations = [operation for operation in operations if operation.label not in LEFT_OUT]
    assert len(operations) > 150
    rounds = max(1, REQUESTS // 1000)
    on = [operation for operation in operations if not operation.path.startswith(OFF)]
    each = -(-REQUESTS // rounds // len(on))
    problems: dict[str, str] = {}
    statuses: Counter[int] = Counter()
    cached = 0
    early: Usage | None = None
    for number in range(rounds):
        one = Round(agent, number)
        for position, operation in enumerate(operations):
            if operation not in on:
                one.run(operation, GenerationMode.POSITIVE, 1, number)
                continue
            negative = each // 3 if position % 2 else -(-each // 3)
            one.run(operation, GenerationMode.POSITIVE, each - negative, number)
            one.run(operation, GenerationMode.NEGATIVE, negative, number)
        problems = {**one.problems, **problems}
        statuses += one.statuses
        cached += one.cached
        _clean(agent)
        early = early or usage(agent)
    (tmp_path / "problems.txt").write_text("\n\n".join(problems.values()))
    log = agent.log.read_text()
    assert agent.json("GET", "/v1/agent/self")["Stats"]["agent"].get("internal_errors", "0") == "0", unexpected(log)
    assert "Traceback" not in log, unexpected(log)
    assert not problems, f"{len(problems)} operations:\n\n" + "\n\n".join(list(problems.values())[:20])
    assert sum(statuses.values()) >= REQUESTS and statuses[200] > REQUESTS / 4, statuses
    # What was under way when the last answer came ends a little later.
    assert early is not None
    deadline = time.monotonic() + 60
    while (now := usage(agent)).tasks > early.tasks + cached + 5 or now.descriptors > early.descriptors + 5:
        assert time.monotonic() < deadline, (early, now)
        time.sleep(0.5)
    assert now.resident < early.resident + MAX_GROWTH, (early, now)
