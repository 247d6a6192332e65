"""Files, flags and their errors."""

import json
from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.config.settings import ConfigError
from agent.file_definitions import service


def test_dev_needs_nothing() -> None:
    config, warnings = load_config(["-dev"])
    assert config.server and config.bootstrap and config.ui and config.bind_addr == "127.0.0.1"
    assert config.ports.http == 8500 and not warnings


def test_files_are_merged_in_order_and_flags_win(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"node_name": "a", "retry_join": ["x"], "ports": {"http": 1}}))
    (tmp_path / "b.hcl").write_text(
        'node_name = "b"\nretry_join = ["y"]\nports { dns = 2 }\nservice { name = "web" port = 80 }\nserver = true'
    )
    (tmp_path / "c.txt").write_text("ignored")
    config, _ = load_config([f"-config-dir={tmp_path}", "--data-dir", str(tmp_path), "-http-port=9", "-ui=false"])
    assert (config.node_name, config.retry_join, config.server) == ("b", ["x", "y"], True)
    assert (config.ports.http, config.ports.dns) == (9, 2)
    assert config.services == [{"name": "web", "port": 80}]
    assert not config.ui


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "data_dir cannot be empty"),
        (["-dev", "-hcl=check_output_max_size = 0"], "check_output_max_size must be positive"),
        (["-dev", "-nonsense"], "flag provided but not defined: -nonsense"),
        (["-dev", "-htp-port=1"], "did you mean -http-port"),
        (["-dev", "-http-port=x"], 'invalid value "x" for flag -http-port'),
        (["-dev", "extra"], "Unexpected argument"),
        (["-dev", "-config-file=/nonexistent.json"], "no such file"),
        (["-dev", "-datacenter=a b"], "datacenter can only contain"),
        (["-dev", "-bind=nowhere"], "bind_addr"),
        (["-data-dir=/tmp", "-bootstrap-expect=3"], "requires 'server = true'"),
        (["-dev", "-node-id=zzz"], "is no UUID"),
        (["-dev", "-hcl", 'dns_config { node_ttl = "soon" }'], "dns_config.node_ttl"),
        (["-dev", "-hcl", "ports { http = 70000 }"], "ports.http"),
        (["-dev", "-node-meta=bad key:x"], "node_meta invalid: Couldn't load metadata pair ('bad key', 'x')"),
        (["-dev", "-node-meta=consul-x:y"], "reserved for internal use"),
        (["-dev", "-encrypt=short"], "encrypt has invalid key"),
        (["-dev", "-encrypt=c2hvcnQ="], "it has 5 bytes"),
        (["-dev", "-protocol=99"], "protocol: version 99"),
        (["-dev", "-raft-protocol=1"], "raft_protocol version 1"),
        (["-dev", "-recursor=not an address"], "recursors: 'not an address'"),
        (["-dev", "-serf-lan-port=0"], "ports.serf_lan cannot be 0"),
        (["-dev", "-hcl", 'reconnect_timeout = "soon"'], "reconnect_timeout: invalid duration"),
        (["-dev", "-hcl", 'check { name = "c" http = "http://x" }'], "checks[0]: Interval must be > 0"),
        (["-dev", "-hcl", 'service { name = "w" weights { passing = 0 } }'], "services[0]: Invalid Weights"),
        (
            ["-dev", "-hcl", 'service { name = "a" check { check_id = "x" ttl = "1s" } }'],
            "invalid config key check.check_id",
        ),
        (
            ["-dev", "-hcl", 'config_entries { bootstrap = [{ kind = "proxy-defaults" name = "wrong" }] }'],
            'invalid name ("wrong"), only "global" is supported',
        ),
    ],
)
def test_errors_name_the_key(argv: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(argv)
    assert text in str(caught.value)


def test_unknown_keys_are_named_with_a_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"node_nam": "x", "ports": {"htp": 1}}')
    with pytest.raises(ConfigError) as caught:
        load_config(["-dev", f"-config-file={path}"])
    assert "invalid config key node_nam (did you mean node_name?)" in str(caught.value)
    assert "invalid config key ports.htp" in str(caught.value)


def test_malformed_files_name_the_place(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"node_name": \n "x",,}')
    with pytest.raises(ConfigError, match="line 2"):
        load_config(["-dev", f"-config-file={path}"])
    path = tmp_path / "a.hcl"
    path.write_text("node_name = = 3")
    with pytest.raises(ConfigError, match=r"a\.hcl"):
        load_config(["-dev", f"-config-file={path}"])


def test_keys_without_effect_are_warned_about() -> None:
    _, warnings = load_config(["-dev", "-hcl", 'telemetry { circonus_api_token = "x" } segment = "a"'])
    assert warnings == [
        "configuration key segment is known but has no effect yet",
        "configuration key telemetry.circonus_api_token has no effect: lictor sends no metrics to Circonus",
    ]


def test_what_only_a_start_finds_passes_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from agent.cli.run import run

    path = tmp_path / "a.hcl"
    path.write_text(f'data_dir = "{tmp_path}"\nbind_addr = "127.0.0.1"\nnode_id = "nope"\nservice {{ port = 1 }}')
    assert run(["validate", str(path)]) == 0
    assert "Configuration is valid!" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="node_id"):
        load_config([f"-config-file={path}"])


def test_addresses_of_recursors() -> None:
    for text in ("8.8.8.8", "8.8.8.8:5353", "::1", "[::1]:53"):
        assert load_config(["-dev", f"-recursor={text}"])[0].recursors == [text]


def test_repeated_blocks_add_up() -> None:
    text = """
        services {
          name = "web"
          checks { id = "a" ttl = "3s" }
          checks { id = "b" ttl = "4s" }
          connect { sidecar_service { proxy { upstreams { destination_name = "db" local_bind_port = 9 } } } }
        }
        services { name = "db" tagged_addresses { lan { address = "127.0.0.1" port = 5 } } }
        node_meta { a = "1" }
        node_meta { b = "2" }
        dns_config { service_ttl { "*" = "2s" } service_ttl { web = "3s" } }
        ports { dns = 1234 }
        ports { http = 1235 }
    """
    config, _ = load_config(["-dev", "-hcl", text])
    assert (config.ports.dns, config.ports.http) == (1234, 1235)
    assert config.node_meta == {"a": "1", "b": "2"}
    assert config.dns.service_ttl == {"*": 2.0, "web": 3.0}
    web, db = (service(raw) for raw in config.services)
    assert [check.check_id for check in web.checks or ()] == ["a", "b"]
    assert web.connect and web.connect.sidecar_service and web.connect.sidecar_service.proxy
    assert [one.destination_name for one in web.connect.sidecar_service.proxy.upstreams or ()] == ["db"]
    assert db.name == "db" and db.tagged_addresses and db.tagged_addresses["lan"].port == 5


def test_a_place_in_hcl_has_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "a.hcl"
    path.write_text('server = true\nservice {\n  name = "web\n}\n')
    with pytest.raises(ConfigError, match=r"a\.hcl: line 3, column 10: the text is not closed"):
        load_config(["-dev", f"-config-file={path}"])
