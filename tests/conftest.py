"""What holds for all tests: none of them is late, however busy the machine is (`timeout` ends those that hang)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.tools import required

# What has to pass before a change lands is decided by the change and not by dice; other runs look for new examples.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=required(),
)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def names_that_nobody_has() -> Iterator[None]:
    """Names below `.invalid` are unknown at once: where there is no name server, to ask for them takes its time."""
    ask = socket.getaddrinfo

    def getaddrinfo(host: Any, *more: Any, **options: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask(host, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share something for their whole module, mostly an agent, together on one worker.

    Else each worker starts an agent of its own for the module's tests that it happens to get, in an order that no two
    runs have in common.
    """
    for item in items:
        if isinstance(item, pytest.Function) and not item.get_closest_marker("xdist_group") and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _shares(item: pytest.Function) -> bool:
    """Whether a test uses a fixture that lives as long as its module."""
    known = item._fixtureinfo.name2fixturedefs
    return any(made[-1].scope == "module" for name in item.fixturenames for made in (known.get(name),) if made)
