"""`DebugConfig` of /v1/agent/self: what the agent was told, under Go's names, and none of its secrets."""

from pathlib import Path

from agent.debug_config import without_secrets
from tests.support.process import dev_agent

KEY = "cg8StVXbQJ0gPvMd9o7yrg=="


def test_settings_are_shown_and_secrets_are_not(tmp_path: Path) -> None:
    settings = {
        "acl": {"tokens": {"default": "secret-default", "agent": "secret-agent"}},
        "encrypt": KEY,
        "dns_config": {"node_ttl": "7s", "service_ttl": {"web": "3s"}},
        "limits": {"http_max_conns_per_client": 77, "rpc_rate": 5.5},
        "autopilot": {"min_quorum": 3, "last_contact_threshold": "5s"},
        "connect": {"enabled": True, "ca_config": {"leaf_cert_ttl": "36h", "private_key": ""}},
        "watches": [
            {
                "type": "key",
                "key": "shown",
                "token": "secret-watch",
                "handler_type": "http",
                "http_handler_config": {
                    "path": "http://me:secret-password@127.0.0.1:1/x",
                    "header": {"Authorization": ["secret-header"]},
                },
            }
        ],
    }
    with dev_agent(tmp_path, **settings) as agent:
        status, raw = agent.request("GET", "/v1/agent/self")
        found = agent.json("GET", "/v1/agent/self")["DebugConfig"]
    assert status == 200
    assert b"secret-" not in raw and KEY.encode() not in raw
    assert found["EncryptKey"] == found["ACLTokens"]["ACLDefaultToken"] == "hidden"
    assert (found["DNSNodeTTL"], found["DNSServiceTTL"]) == ("7s", {"web": "3s"})
    assert (found["HTTPMaxConnsPerClient"], found["RPCRateLimit"]) == (77, 5.5)
    assert (found["AutopilotMinQuorum"], found["AutopilotLastContactThreshold"]) == (3, "5s")
    assert found["ConnectCAConfig"]["LeafCertTTL"] == "36h"
    assert (found["ConnectCAProvider"], found["ConnectSidecarMinPort"]) == ("consul", 21000)
    assert found["RPCBindAddr"] == f"tcp://127.0.0.1:{agent.ports['server']}"
    assert found["Watches"][0]["key"] == "shown"


def test_what_is_a_secret_is_told_by_its_name() -> None:
    settings = {
        "PrivateKey": "x",
        "PrivateKeyType": "ec",
        "acl_token": "x",
        "Header": {"a": ["x"]},
        "nested": [{"ClientSecret": "x", "url": "https://a:b@host/p@th"}],
    }
    assert without_secrets(settings) == {
        "PrivateKey": "hidden",
        "PrivateKeyType": "ec",
        "acl_token": "hidden",
        "Header": "hidden",
        "nested": [{"ClientSecret": "hidden", "url": "https://host/p@th"}],
    }
