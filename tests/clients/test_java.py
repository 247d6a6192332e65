"""The Java clients `com.ecwid.consul` (Spring Cloud Consul's) and `com.orbitz.consul`: what `java/Client.java` says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clients.fetch import fetch, run
from tests.support.process import dev_agent
from tests.support.tools import need_program

PROGRAM = Path(__file__).with_name("java")


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_the_java_clients(tmp_path: Path) -> None:
    maven, java = need_program("mvn"), need_program("java")
    need_program("javac")
    folder = tmp_path / "program"
    shutil.copytree(PROGRAM, folder)
    classpath = folder / "classpath.txt"
    command = (maven, "-q", "-B", "--strict-checksums", "dependency:build-classpath")
    fetch((*command, f"-Dmdep.outputFile={classpath}"), folder)
    # `com.orbitz.consul` waits ten seconds after each answer that does not say a leader is known, which the streaming
    # backend never says (hashicorp/consul#9776): its users turn that off.
    with dev_agent(tmp_path / "agent", use_streaming_backend=False) as agent:
        address = {"CONSUL_HTTP_ADDR": f"127.0.0.1:{agent.ports['http']}"}
        # The program is small enough to be compiled whenever it starts.
        done = run([java, "-cp", classpath.read_text().strip(), "Client.java"], folder, address, 250)
        assert done.returncode == 0, f"{done.stdout[-6000:]}\nthe agent said:\n{agent.log.read_text()[-3000:]}"
        assert done.stdout.count("passed: ") == 6, done.stdout
