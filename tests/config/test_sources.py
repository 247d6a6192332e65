"""Files: how they are laid on top of each other, which keys they may have, and what is refused unread."""

import json
from pathlib import Path

import pytest

from agent.config.load import load_config, validate
from agent.config.settings import ConfigError
from agent.config.sources import MAX_JSON


def _files(folder: Path, **texts: str) -> list[str]:
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text)
    return ["-dev", f"-config-dir={folder}"]


def test_files_are_merged_deep(tmp_path: Path) -> None:
    words = _files(
        tmp_path,
        a_json=json.dumps(
            {
                "http_config": {"block_endpoints": ["/v1/a"], "response_headers": {"A": "1", "B": "1"}},
                "dns_config": {"service_ttl": {"web": "1s", "db": "1s"}, "node_ttl": "5s"},
                "telemetry": {"prefix_filter": ["+a"], "metrics_prefix": "one"},
                "performance": {"leave_drain_time": "3s"},
            }
        ),
        b_hcl="""
            http_config { block_endpoints = ["/v1/b"] response_headers { B = "2" } }
            dns_config { service_ttl { web = "2s" } }
            telemetry { prefix_filter = ["-b"] metrics_prefix = "two" }
            performance { raft_multiplier = 2 }
            Services { Name = "web" Port = 1 }
        """,
        c_hcl='services = [{ name = "db" }]  watches { type = "services" args = ["true"] }',
        d_hcl='watches { type = "nodes" args = ["true"] }',
    )
    config, _ = load_config(words)
    assert config.http.block_endpoints == ["/v1/a", "/v1/b"]
    assert config.http.response_headers == {"A": "1", "B": "2"}
    assert config.dns.service_ttl == {"web": 2.0, "db": 1.0} and config.dns.node_ttl == 5.0
    assert config.telemetry.metrics_prefix == "two"
    assert (config.telemetry.allowed, config.telemetry.blocked) == (("a",), ("b",))
    assert (config.leave_drain_time, config.raft_multiplier) == (3.0, 2)
    assert [one.get("name") or one.get("Name") for one in config.services] == ["web", "db"]
    assert [one["type"] for one in config.watches] == ["services", "nodes"]


def test_folders_and_files_come_in_the_order_of_the_flags(tmp_path: Path) -> None:
    for folder, name in (("x", "10.hcl"), ("x", "9.hcl"), ("y", "1.hcl")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(
            f'node_name = "{folder}{name[:-4]}"\nnode_meta {{ {folder}{name[0]} = "1" }}'
        )
    (tmp_path / "x" / "below").mkdir()
    (tmp_path / "x" / "below" / "z.hcl").write_text('node_name = "never read"')
    config, _ = load_config(["-dev", f"-config-dir={tmp_path}/y", f"-config-dir={tmp_path}/x"])
    assert config.node_name == "x9" and config.node_meta == {"y1": "1", "x1": "1", "x9": "1"}
    config, _ = load_config(["-dev", f"-config-dir={tmp_path}/x", f"-config-file={tmp_path}/y/1.hcl", "-node=flag"])
    assert config.node_name == "flag"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "telemetry { disable_hostnam = true }",
            "invalid config key telemetry.disable_hostnam (did you mean disable_hostname?)",
        ),
        ('service { name = "a" prt = 1 }', "invalid config key service.prt (did you mean port?)"),
        (
            'services = [{ name = "a" }, { name = "b" tgs = [] }]',
            "invalid config key services[1].tgs (did you mean tags?)",
        ),
        ('service { name = "a" check { intervall = "1s" } }', "service.check.intervall (did you mean interval?)"),
        (
            'service { name = "a" connect { sidecar_service { proxy { upstreams { destination_nam = "x" } } } } }',
            "service.connect.sidecar_service.proxy.upstreams.destination_nam (did you mean destination_name?)",
        ),
        ('check { name = "a" tttl = "1s" }', "invalid config key check.tttl (did you mean ttl?)"),
        ('watches { type = "nodes" arg = ["x"] }', "invalid config key watches.arg (did you mean args?)"),
        (
            'watches { type = "nodes" http_handler_config { pth = "http://x" } }',
            "watches.http_handler_config.pth (did you mean path?)",
        ),
        ('ui_config { metrics_proxy { base_ur = "x" } }', "ui_config.metrics_proxy.base_ur (did you mean base_url?)"),
        ('acl { tokens { agnt = "x" } }', "invalid config key acl.tokens.agnt (did you mean agent?)"),
        ('tls { defaults { ca_fil = "x" } }', "invalid config key tls.defaults.ca_fil (did you mean ca_file?)"),
        ("dns_config { soa { expires = 1 } }", "invalid config key dns_config.soa.expires (did you mean expire?)"),
        ('recursor = "8.8.8.8"', "invalid config key recursor (did you mean recursors?)"),
        ('recursors = "8.8.8.8"', "recursors: expected a list of texts, got '8.8.8.8'"),
        ("telemetry = 5", "expected a section, got 5"),
        ("dns_config { node_ttl = 5 }", 'dns_config.node_ttl: expected a duration such as "10s", got 5'),
        ("dns_config { soa { min_ttl = -1 } }", "dns_config.soa.min_ttl cannot be -1"),
        ("cache { entry_fetch_rate = 0 }", "cache.entry_fetch_rate must be strictly positive"),
        ("log_rotate_max_files = -2", "log_rotate_max_files cannot be -2"),
        ('syslog_facility = "LOCAL9"', "syslog_facility: invalid value 'LOCAL9'"),
        ('telemetry { prefix_filter = ["a"] }', "telemetry.prefix_filter: rule 'a' must begin with"),
        (
            'telemetry { statsd_address = "nowhere" }',
            "telemetry.statsd_address: 'nowhere' is not of the form host:port",
        ),
        ('telemetry { statsite_address = "a:99999" }', "telemetry.statsite_address: 'a:99999' has no valid port"),
        ('ui_config { metrics_proxy { base_url = "ftp://x" } }', "must be a valid http or https URL"),
        ('ui_config { metrics_proxy { path_allowlist = ["a/../b"] } }', "must be a clean absolute path"),
        ('ui_config { metrics_provider_options_json = "[]" }', "must be empty or a JSON object"),
        ('ui_config { dashboard_url_templates { service = "javascript:x" } }', "is no http or https URL"),
        ('ui_config { enabled = true dir = "/x" }', "please provide only one"),
        ('ui_config { content_path = "a b" }', "ui_config.content_path can only contain"),
        ('server_rejoin_age_max = "1h"', "server_rejoin_age_max cannot be less than 6h"),
        ('watches { type = "nodes" }', "watches[0]: Must define a watch handler"),
        ('watches { type = "connect_roots" args = ["x"] }', "watches[0]: Unsupported watch type"),
        ("limits { rpc_max_conns_per_client = -1 }", "limits.rpc_max_conns_per_client cannot be negative"),
        ('discovery_max_stale = "-1s"', "discovery_max_stale cannot be negative"),
    ],
)
def test_wrong_settings_name_the_key_and_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(["-dev", "-hcl", text])
    assert problem in str(caught.value)


def test_many_unknown_keys_are_one_bounded_error() -> None:
    text = json.dumps({f"unknown_{number}": {"a": 1} for number in range(1000)})
    with pytest.raises(ConfigError) as caught:
        load_config(["-dev", "-hcl", text])
    assert len(str(caught.value)) < 4000


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"node_name": "a\x00b"}', "is no text: byte 16 is zero"),
        (b'{"node_name": "\xff"}', "is no UTF-8 text: byte 15"),
        (b" " * (MAX_JSON + 1), "is too large"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested too deeply"),
        (b'{"node_name": "x"', "line 1"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(["-dev", f"-config-file={path}"])
    assert problem in str(caught.value) and str(path) in str(caught.value)


def test_a_device_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="neither a file nor a pipe"):
        load_config(["-dev", f"-config-file={tmp_path}/a.json"])


def test_hcl_as_people_write_it(tmp_path: Path) -> None:
    text = """
        # a comment
        // another
        /* and one
           of two lines */
        node_name = "a"  node_meta = [{ x = "1" }]
        check {
          id = "c" name = "c" interval = "10s"
          args = ["sh", "-c", <<EOF
echo "hello"
EOF
          ]
        }
        ports = { http = 0x1F40 }
        limits { rpc_rate = 1.5e2 }
        "log_level" = "warn"
        recursors = ["8.8.8.8", ]
        skip_leave_on_interrupt = false
    """
    config, _ = load_config(["-dev", "-hcl", text])
    assert config.node_meta == {"x": "1"} and config.ports.http == 8000 and config.log_level == "WARN"
    assert config.rpc_limit.rate == 150.0 and config.recursors == ["8.8.8.8"]
    assert config.checks[0]["args"][2] == 'echo "hello"\n'


def test_old_names_work_and_are_warned_about(tmp_path: Path) -> None:
    (tmp_path / "ui").mkdir()
    text = f'''
        ui_dir = "{tmp_path}/ui" ui_content_path = "/x/" allow_write_http_from = ["127.0.0.0/8"] verify_outgoing = true
    '''
    config, warnings = load_config(["-dev", "-hcl", text])
    assert config.ui and config.ui_settings.folder == f"{tmp_path}/ui" and config.ui_path == "/x/"
    assert config.http.allow_write_http_from == ["127.0.0.0/8"]
    for old, new in (
        ("ui_dir", "ui_config.dir"),
        ("ui_content_path", "ui_config.content_path"),
        ("allow_write_http_from", "http_config.allow_write_http_from"),
        ("verify_outgoing", "tls.defaults.verify_outgoing"),
    ):
        assert f"The '{old}' field is deprecated. Use the '{new}' field instead." in warnings
    config, _ = load_config(["-dev", "-hcl", 'ui_content_path = "/old/" ui_config { content_path = "new" }'])
    assert config.ui_path == "/new/"


def test_validate_says_what_an_agent_would_warn_of(tmp_path: Path) -> None:
    path = tmp_path / "a.hcl"
    path.write_text(
        f'data_dir = "{tmp_path}" bind_addr = "127.0.0.1" server = true bootstrap_expect = 2 node_name = "under_score"'
    )
    warnings = "\n".join(validate([("config-file", str(path))], ""))
    assert "A cluster with 2 servers will provide no failure tolerance" in warnings
    assert 'Node name "under_score" will not be discoverable via DNS' in warnings


def test_settings_that_consul_keeps_to_itself_are_taken_without_effect(tmp_path: Path) -> None:
    words = _files(tmp_path, a_json=json.dumps({"version": "1.15.2", "revision": "abc", "ae_interval": "1s"}))
    config, warnings = load_config(words)
    assert config == load_config(["-dev"])[0]
    assert not [one for one in warnings if "version" in one or "ae_interval" in one], warnings
