"""HashiCorp's own serf in one pool with a lictor server: keys, queries, coordinates and leaving, in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.fetch import fetch, run
from tests.support.process import dev_agent, free_ports
from tests.support.tools import need_program

PROGRAM = Path(__file__).with_name("serf")
KEY = "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_a_real_serf_in_our_pool(tmp_path: Path) -> None:
    go = need_program("go")
    fixed = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    fetch((go, "mod", "download"), PROGRAM, **fixed)
    binary = tmp_path / "serf.test"
    built = run([go, "test", "-c", "-o", binary, "."], PROGRAM, fixed, 500)
    assert built.returncode == 0, built.stdout[-3000:]
    with dev_agent(tmp_path / "agent", encrypt=KEY) as agent:
        where = {
            "LICTOR_HTTP": f"127.0.0.1:{agent.ports['http']}",
            "LICTOR_GOSSIP": f"127.0.0.1:{agent.ports['serf_lan']}",
            "OWN_PORT": str(free_ports(1)[0]),
        }
        done = run([binary, "-test.v", "-test.timeout=240s"], tmp_path, where, 250)
        said = agent.log.read_text()
        assert done.returncode == 0, f"{done.stdout[-6000:]}\nthe agent said:\n{said[-3000:]}"
        assert done.stdout.count("--- PASS: ") == 2, done.stdout
        assert "No installed keys could decrypt the message" in said
        assert "Encryption is configured but remote state is not encrypted" in said
        assert "Traceback" not in said
