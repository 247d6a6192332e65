"""Services and checks in configuration files: every field of the documentation, in HCL."""

from __future__ import annotations

from typing import Any

import pytest

from agent import file_definitions
from model.durations import SECOND
from model.gojson import JsonError, to_json
from model.hcl import parse_hcl
from model.structs.catalog import CheckType, ServiceAddress

SERVICE = """
name = "redis"
id = "redis1"
address = "10.0.0.1"
tags = ["primary"]
meta = { custom_Meta_key = "custom_meta_value" }
tagged_addresses = {
  lan = { address = "192.168.0.55", port = 8000 }
  wan_ipv4 = { address = "198.18.0.23", port = 80 }
}
port = 8000
socket_path = "/tmp/redis.sock"
enable_tag_override = true
token = "a token"
weights = { passing = 5, warning = 1 }
kind = "connect-proxy"
proxy = {
  destination_service_name = "web"
  destination_service_id = "web1"
  local_service_address = "127.0.0.1"
  local_service_port = 9090
  local_service_socket_path = "/tmp/web.sock"
  mode = "transparent"
  config = { local_connect_timeout_ms = 5, nested = { a_b = true } }
  transparent_proxy { outbound_listener_port = 22500 dialed_directly = true }
  mesh_gateway = { mode = "local" }
  expose {
    checks = true
    paths = [{ path = "/healthz", local_path_port = 8080, listener_port = 21500, protocol = "http2" }]
  }
  upstreams = [{
    destination_type = "prepared_query", destination_name = "db", destination_namespace = "n", datacenter = "dc2",
    destination_partition = "p", destination_peer = "far",
    local_bind_address = "127.0.0.2", local_bind_port = 9191, config = { connect_timeout_ms = 1 },
    mesh_gateway = { mode = "remote" }
  }, { destination_name = "cache", local_bind_socket_path = "/tmp/c.sock", local_bind_socket_mode = "0600" }]
}
connect { native = true sidecar_service {
  port = 20000
  checks = [{ id = "side", ttl = "1s", success_before_passing = 3 }]
} }
"""


def service(text: str) -> Any:
    return file_definitions.service(parse_hcl(text))


def test_every_field_of_a_service() -> None:
    found = service(SERVICE)
    assert (found.name, found.id, found.address, found.port) == ("redis", "redis1", "10.0.0.1", 8000)
    assert (found.tags, found.meta) == (["primary"], {"custom_Meta_key": "custom_meta_value"})
    assert found.tagged_addresses == {
        "lan": ServiceAddress("192.168.0.55", 8000),
        "wan_ipv4": ServiceAddress("198.18.0.23", 80),
    }
    assert (found.socket_path, found.enable_tag_override, found.token) == ("/tmp/redis.sock", True, "a token")
    assert (found.weights.passing, found.weights.warning, found.kind) == (5, 1, "connect-proxy")
    assert to_json(found.proxy) == {
        "Config": {"local_connect_timeout_ms": 5, "nested": {"a_b": True}},
        "DestinationServiceID": "web1",
        "DestinationServiceName": "web",
        "Expose": {
            "Checks": True,
            "Paths": [{"ListenerPort": 21500, "LocalPathPort": 8080, "Path": "/healthz", "Protocol": "http2"}],
        },
        "LocalServiceAddress": "127.0.0.1",
        "LocalServicePort": 9090,
        "LocalServiceSocketPath": "/tmp/web.sock",
        "MeshGateway": {"Mode": "local"},
        "Mode": "transparent",
        "TransparentProxy": {"DialedDirectly": True, "OutboundListenerPort": 22500},
        "Upstreams": [
            {
                "Config": {"connect_timeout_ms": 1},
                "Datacenter": "dc2",
                "DestinationName": "db",
                "DestinationNamespace": "n",
                "DestinationPartition": "p",
                "DestinationPeer": "far",
                "DestinationType": "prepared_query",
                "LocalBindAddress": "127.0.0.2",
                "LocalBindPort": 9191,
                "MeshGateway": {"Mode": "remote"},
            },
            {
                "Datacenter": "",
                "DestinationName": "cache",
                "DestinationType": "",
                "LocalBindSocketMode": "0600",
                "LocalBindSocketPath": "/tmp/c.sock",
                "MeshGateway": {},
            },
        ],
    }
    assert found.connect.native
    sidecar = found.connect.sidecar_service
    assert sidecar.port == 20000
    assert (sidecar.checks[0].check_id, sidecar.checks[0].success_before_passing) == ("side", 3)


CHECK = """
id = "api"
name = "HTTP API"
notes = "n"
http = "https://localhost:5000/health"
tls_server_name = "x"
tls_skip_verify = true
method = "POST"
header = { Content-Type = ["application/json"], x_under_score = ["a", "b"] }
body = "{}"
disable_redirects = true
interval = "10s"
timeout = "1s"
output_max_size = 100
success_before_passing = 1
failures_before_warning = 2
failures_before_critical = 3
status = "warning"
deregister_critical_service_after = "90m"
grpc = "a:1/b"
grpc_use_tls = true
h2ping = "a:2"
h2ping_use_tls = false
docker_container_id = "c"
shell = "/bin/bash"
args = ["/x", "y"]
os_service = "nginx"
udp = "a:3"
tcp = "a:4"
tcp_use_tls = true
ttl = "30s"
alias_service = "web"
alias_node = "n1"
"""
EXPECTED = CheckType(
    name="HTTP API",
    notes="n",
    http="https://localhost:5000/health",
    tls_server_name="x",
    tls_skip_verify=True,
    method="POST",
    header={"Content-Type": ["application/json"], "x_under_score": ["a", "b"]},
    body="{}",
    disable_redirects=True,
    interval=10 * SECOND,
    timeout=SECOND,
    output_max_size=100,
    success_before_passing=1,
    failures_before_warning=2,
    failures_before_critical=3,
    status="warning",
    deregister_critical_service_after=5400 * SECOND,
    grpc="a:1/b",
    grpc_use_tls=True,
    h2ping="a:2",
    h2ping_use_tls=False,
    docker_container_id="c",
    shell="/bin/bash",
    script_args=["/x", "y"],
    os_service="nginx",
    udp="a:3",
    tcp="a:4",
    tcp_use_tls=True,
    ttl=30 * SECOND,
    alias_service="web",
    alias_node="n1",
)


def test_every_field_of_a_check() -> None:
    own = file_definitions.check(parse_hcl(CHECK + 'service_id = "web"\ntoken = "t"\n'))
    assert own.check == EXPECTED
    assert (own.check_id, own.name, own.service_id) == ("api", "HTTP API", "web")
    inline = service(f'name = "web"\ncheck {{\n{CHECK}\n}}').checks
    assert [one.check_id for one in inline] == ["api"]
    assert to_json(inline[0]) == {**to_json(EXPECTED), "CheckID": "api"}


def test_a_check_has_its_name_as_its_id() -> None:
    assert file_definitions.check({"name": "x", "ttl": "1s"}).check_id == "x"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name = "a"\nfoo_bar = 1', 'unknown field "foo_bar"'),
        ('name = "a"\nport = "x"', "cannot unmarshal string into Go struct field .Alias.Port of type int"),
        ('name = "a"\ncheck { ttl = "soon" }', 'time: invalid duration "soon"'),
        ('name = "a"\ncheck { http = "x" header = { a = "b" } }', "of type []string"),
        ('name = "a"\ncheck { check_id = "x" ttl = "1s" }', 'a check inside a service is named by its "id"'),
    ],
)
def test_mistakes_are_named(text: str, problem: str) -> None:
    with pytest.raises(JsonError) as caught:
        service(text)
    assert problem in str(caught.value)
