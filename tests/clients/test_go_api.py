"""Consul's own Go client, `github.com/hashicorp/consul/api`, against a lictor agent: what `go/*_test.go` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.fetch import fetch, run
from tests.support.process import dev_agent, free_ports
from tests.support.tools import need_program

PROGRAM = Path(__file__).with_name("go")


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_the_go_client(tmp_path: Path) -> None:
    go = need_program("go")
    # The toolchain that is there, and exactly the modules that go.sum names.
    fixed = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    fetch((go, "mod", "download"), PROGRAM, **fixed)
    binary = tmp_path / "client.test"
    built = run([go, "test", "-c", "-o", binary, "."], PROGRAM, fixed, 500)
    assert built.returncode == 0, built.stdout[-3000:]
    # Without a pool of servers nothing is known of where datacenters are.
    (wan,) = free_ports(1)
    with dev_agent(tmp_path / "agent", ports={"serf_wan": wan}) as agent:
        address = {"CONSUL_HTTP_ADDR": f"127.0.0.1:{agent.ports['http']}"}
        done = run([binary, "-test.v", "-test.parallel=16", "-test.timeout=240s"], tmp_path, address, 250)
        assert done.returncode == 0, f"{done.stdout[-6000:]}\nthe agent said:\n{agent.log.read_text()[-3000:]}"
        assert done.stdout.count("--- PASS: ") >= 21, done.stdout
