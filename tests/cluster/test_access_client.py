"""Access control on a real client agent: which token is used for what, and what holds when the servers are away."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent, free_ports

pytestmark = pytest.mark.slow
ROOT = "10000000-0000-4000-8000-000000000001"
RECOVERY = "20000000-0000-4000-8000-000000000002"
UNKNOWN = "deadbeef-0000-4000-8000-000000000001"
NODE = "30000000-0000-4000-8000-000000000003"
"""The secret of the client's own token: an identity of its node."""
WEB = "40000000-0000-4000-8000-000000000004"
API = "50000000-0000-4000-8000-000000000005"


def call(agent: Agent, method: str, path: str, body: Any = None, token: str = ROOT) -> tuple[int, bytes]:
    """A request with a token ("": none)."""
    if token:
        path = f"{path}{'&' if '?' in path else '?'}token={token}"
    return agent.request(method, path, body)


def good(agent: Agent, method: str, path: str, body: Any = None, token: str = ROOT) -> Any:
    """A request with a token that has to succeed."""
    status, raw = call(agent, method, path, body, token)
    assert status == 200, (method, path, status, raw)
    return json.loads(raw) if raw.strip() else None


class Pair:
    """A server and a client agent, whose tokens the server knows."""

    def __init__(self, folder: Path) -> None:
        lan, rpc = free_ports(2)
        base: dict[str, Any] = {"performance": {"raft_multiplier": 1, "rpc_hold_timeout": "500ms"}}
        acl = {"enabled": True, "default_policy": "deny"}
        self.server = Agent(
            folder / "server",
            [],
            {
                **base,
                "node_name": "s",
                "server": True,
                "bootstrap": True,
                "data_dir": str(folder / "server" / "data"),
                "ports": {"serf_lan": lan, "server": rpc},
                "acl": {**acl, "tokens": {"initial_management": ROOT, "agent": ROOT}},
            },
            host="127.0.92.1",
        )
        self.data = folder / "client" / "data"
        self.settings = {
            **base,
            "node_name": "c",
            "data_dir": str(self.data),
            "retry_join": [f"127.0.92.1:{lan}"],
            "retry_interval": "200ms",
            "services": [{"name": "api", "port": 81, "token": API, "check": {"id": "api-ttl", "ttl": "1h"}}],
            "acl": {
                **acl,
                "token_ttl": "500ms",
                "enable_token_persistence": True,
                "tokens": {"agent": NODE, "agent_recovery": RECOVERY},
            },
        }
        self.client = Agent(
            folder / "client",
            [],
            {**self.settings, "ports": {"serf_lan": lan, "server": rpc}},
            host="127.0.92.2",
        )

    def configure(self, **tokens: str) -> None:
        """Write other tokens into the client's configuration file."""
        config = json.loads(self.client.config.read_text())
        config["acl"]["tokens"] = tokens
        self.client.config.write_text(json.dumps(config))

    def in_catalog(self, service: str) -> Any:
        """What the catalog says of a service on the client."""
        return good(self.server, "GET", f"/v1/health/service/{service}")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("access"))
    server, client = made.server, made.client
    try:
        server.start()
        server.until(lambda: call(server, "GET", "/v1/agent/self")[0] == 200)
        for secret, body in (
            (NODE, {"NodeIdentities": [{"NodeName": "c", "Datacenter": "dc1"}]}),
            (WEB, {"ServiceIdentities": [{"ServiceName": "web"}]}),
            (API, {"ServiceIdentities": [{"ServiceName": "api"}]}),
        ):
            good(server, "PUT", "/v1/acl/token", {"SecretID": secret, **body})
        client.start()
        client.until(lambda: call(client, "GET", "/v1/agent/self", token=RECOVERY)[0] == 200)
        server.until(lambda: good(server, "GET", "/v1/catalog/node/c"))
        yield made
    finally:
        for agent in (client, server):
            if agent.process is not None:
                agent.stop(signal.SIGKILL)


def test_each_thing_is_registered_with_its_own_token(pair: Pair) -> None:
    client, server = pair.client, pair.server
    server.until(lambda: pair.in_catalog("api"))
    assert {check["CheckID"] for check in pair.in_catalog("api")[0]["Checks"]} == {"serfHealth", "api-ttl"}
    web = {"Name": "web", "Port": 80, "Check": {"CheckID": "web-ttl", "TTL": "1h"}}
    assert call(client, "PUT", "/v1/agent/service/register", web, "")[0] == 403
    assert call(client, "PUT", "/v1/agent/service/register", web, API)[0] == 403
    assert call(client, "PUT", "/v1/agent/service/register", web, UNKNOWN)[0] == 403
    good(client, "PUT", "/v1/agent/service/register", web, WEB)
    server.until(lambda: pair.in_catalog("web"))
    assert call(client, "PUT", "/v1/agent/check/pass/web-ttl", token=API)[0] == 403
    good(client, "PUT", "/v1/agent/check/pass/web-ttl", token=WEB)
    server.until(lambda: len(good(server, "GET", "/v1/health/service/web?passing")) == 1)
    # What the body names goes before who asks: the catalog does not take it from that token.
    other = {"Name": "other", "Port": 82, "Token": WEB}
    good(client, "PUT", "/v1/agent/service/register", other)
    client.until(lambda: "service=other is blocked by ACLs" in client.log.read_text())
    assert pair.in_catalog("other") == []
    good(client, "PUT", "/v1/agent/service/register", {**other, "Token": ""})
    server.until(lambda: pair.in_catalog("other"))
    good(client, "PUT", "/v1/agent/service/deregister/other")
    server.until(lambda: pair.in_catalog("other") == [])


def test_the_default_token_stands_in_and_can_be_changed(pair: Pair) -> None:
    client = pair.client
    assert "web" not in good(client, "GET", "/v1/catalog/services", token="")
    assert call(client, "PUT", "/v1/agent/token/default", {"Token": WEB}, WEB)[0] == 403
    good(client, "PUT", "/v1/agent/token/default", {"Token": WEB}, RECOVERY)
    assert "web" in good(client, "GET", "/v1/catalog/services", token="")
    assert "web" in good(client, "GET", "/v1/catalog/services?cached", token="")
    good(client, "PUT", "/v1/agent/token/default", {"Token": ""}, RECOVERY)
    for form in ("", "?cached"):
        assert "web" not in good(client, "GET", f"/v1/catalog/services{form}", token="")


def test_tokens_that_were_set_last_and_are_read_by_their_owner_only(pair: Pair) -> None:
    client = pair.client
    good(client, "PUT", "/v1/agent/token/default", {"Token": WEB}, RECOVERY)
    kept = pair.data / "acl-tokens.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text()) == {"default": WEB}
    client.stop()
    pair.configure(agent=NODE, agent_recovery=RECOVERY, default=API)
    client.start()
    client.until(lambda: call(client, "GET", "/v1/agent/self", token=RECOVERY)[0] == 200)
    client.until(lambda: "web" in good(client, "GET", "/v1/agent/services", token=""))
    assert "present in both" in client.log.read_text()
    client.until(lambda: len(good(pair.server, "GET", "/v1/health/service/web")) == 1)
    good(client, "PUT", "/v1/agent/token/default", {"Token": ""}, RECOVERY)
    pair.configure(agent=NODE, agent_recovery=RECOVERY)


def test_a_reload_takes_over_the_tokens_of_the_files(pair: Pair) -> None:
    client = pair.client
    other = RECOVERY.replace("2", "6")
    pair.configure(agent=NODE, agent_recovery=other)
    client.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    client.until(lambda: call(client, "GET", "/v1/agent/self", token=other)[0] == 200)
    client.until(lambda: call(client, "GET", "/v1/agent/self", token=RECOVERY)[0] == 403)
    pair.configure(agent=NODE, agent_recovery=RECOVERY)
    client.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    client.until(lambda: call(client, "GET", "/v1/agent/self", token=RECOVERY)[0] == 200)


def test_no_secret_is_shown_or_left_readable(pair: Pair) -> None:
    client, server = pair.client, pair.server
    secrets = [secret.encode() for secret in (ROOT, RECOVERY, NODE, WEB, API)]
    for agent, token in ((client, RECOVERY), (server, ROOT)):
        body = call(agent, "GET", "/v1/agent/self", token=token)[1]
        assert b"DebugConfig" in body
        assert [secret for secret in secrets if secret in body] == []
        assert [secret for secret in secrets if secret in agent.log.read_bytes()] == []
    for path in ("/v1/agent/services", "/v1/agent/service/web", "/v1/agent/checks", "/v1/agent/metrics"):
        body = call(client, "GET", path)[1]
        assert body and [secret for secret in secrets if secret in body] == []
    bundle = client.folder / "debug"
    words = ("debug", f"-output={bundle}", "-duration=1m", "-capture=agent", "-capture=host", "-archive=false")
    with client.running(*words, CONSUL_HTTP_TOKEN=ROOT) as debugging:
        client.until(lambda: [path for path in client.folder.glob(".debug-*/debug/host.json") if path.stat().st_size])
        debugging.send_signal(signal.SIGTERM)
        debugging.wait(60)
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"agent.json", "host.json"}
    for path in files:
        assert [secret for secret in secrets if secret in path.read_bytes()] == [], path
    for agent in (client, server):
        for path in (agent.folder / "data").rglob("*"):
            if path.is_file() and any(secret in path.read_bytes() for secret in secrets):
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or _is_shut(path, agent.folder), path


def _is_shut(path: Path, top: Path) -> bool:
    """Whether a folder above keeps everybody else out."""
    above = [folder for folder in path.parents if top in folder.parents]
    return any(stat.S_IMODE(os.stat(folder).st_mode) & 0o077 == 0 for folder in above)


def test_without_servers_what_was_known_holds_and_the_recovery_token_does(pair: Pair) -> None:
    client, server = pair.client, pair.server
    good(client, "GET", "/v1/agent/services", token=WEB)
    server.stop(signal.SIGKILL)
    for _ in range(2):  # Longer than the TTL: nobody is there who could say otherwise.
        assert "web" in good(client, "GET", "/v1/agent/services", token=WEB)
        assert good(client, "GET", "/v1/agent/services", token=UNKNOWN) == {}, "as down_policy says, nothing is seen"
    assert call(client, "GET", "/v1/agent/self", token=WEB)[0] == 403
    assert call(client, "GET", "/v1/agent/self", token=UNKNOWN)[0] == 403
    assert call(client, "GET", "/v1/agent/self", token=RECOVERY)[0] == 200
    assert call(client, "GET", "/v1/kv/a", token=WEB)[0] == 500
    server.start()
    server.until(lambda: call(server, "GET", "/v1/agent/self")[0] == 200)
    client.until(lambda: call(client, "GET", "/v1/agent/services", token=UNKNOWN)[0] == 403)


def test_a_token_that_is_revoked_is_refused_by_the_client(pair: Pair) -> None:
    accessor = good(pair.server, "GET", "/v1/acl/token/self", token=WEB)["AccessorID"]
    pair.client.until(lambda: good(pair.client, "GET", "/v1/agent/services", token=WEB))
    good(pair.client, "GET", "/v1/health/service/web?cached", token=WEB)
    good(pair.server, "DELETE", f"/v1/acl/token/{accessor}")
    pair.client.until(lambda: call(pair.client, "GET", "/v1/agent/services", token=WEB)[0] == 403)
    pair.client.until(lambda: call(pair.client, "GET", "/v1/health/service/web?cached", token=WEB)[0] == 403)
