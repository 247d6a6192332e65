"""Docker checks against an engine that speaks Docker's API."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.checks.docker import Demultiplexer, probe_docker
from agent.checks.probe import Tools
from tests.agent.checks.counterparts import DockerEngine, a_check, docker_engine, http_server


async def test_a_program_in_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
    async with docker_engine(tmp_path / "docker.sock") as engine:
        for code, status in ((0, "passing"), (1, "warning"), (3, "critical")):
            check = a_check(DockerContainerID="web", Args=["sh", "-c", f"echo out; echo err >&2; exit {code}"])
            assert await probe_docker(check, Tools()) == (status, "out\nerr\n")
        check = a_check(DockerContainerID="web", Args=["sh", "-c", "head -c 9000 /dev/zero | tr '\\0' x"])
        assert await probe_docker(check, Tools()) == ("passing", "Captured 4096 of 9000 bytes\n...\n" + "x" * 4096)
        engine.commands.clear()
        await probe_docker(a_check(DockerContainerID="web", Args=["echo", "a b"]), Tools())
        await probe_docker(a_check(DockerContainerID="web", Args=["echo", "a b"], Shell="/bin/sh"), Tools())
        shell = a_check(DockerContainerID="web", Args=["echo $((1 + 1))"], Shell="/bin/sh")
        assert await probe_docker(shell, Tools()) == ("passing", "2\n")
        assert engine.commands == [
            ["echo", "a b"],
            ["/bin/sh", "-c", "echo 'a b'"],
            ["/bin/sh", "-c", "echo $((1 + 1))"],
        ]


async def test_containers_that_cannot_run_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
    async with docker_engine(tmp_path / "docker.sock"):
        for container, output in (
            ("nosuch", 'create exec failed for unknown container "nosuch"'),
            ("old", 'create exec failed since container "old" is paused or stopped'),
            ("../exec", 'create exec failed for unknown container "../exec"'),
        ):
            check = a_check(DockerContainerID=container, Args=["true"])
            assert await probe_docker(check, Tools()) == ("critical", output)
        slow = a_check(DockerContainerID="web", Args=["sleep", "5"], Timeout="100ms")
        assert await probe_docker(slow, Tools()) == ("critical", "Docker exec in container web timed out")


async def test_an_engine_over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = DockerEngine()
    async with http_server(engine.handle) as url:
        monkeypatch.setenv("DOCKER_HOST", url.replace("http", "tcp"))
        check = a_check(DockerContainerID="web", Args=["echo", "yes"])
        assert await probe_docker(check, Tools()) == ("passing", "yes\n")


async def test_engines_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = a_check(DockerContainerID="web", Args=["true"])
    failed = 'create exec failed for container "web": '
    for host, output in (
        (f"unix://{tmp_path}/no.sock", f"{failed}dial unix {tmp_path}/no.sock: connect: no such file or directory"),
        ("tcp://127.0.0.1:1", f"{failed}dial tcp 127.0.0.1:1: connect: connection refused"),
        ("ssh://somewhere", "invalid docker host: ssh://somewhere"),
    ):
        monkeypatch.setenv("DOCKER_HOST", host)
        assert await probe_docker(check, Tools()) == ("critical", output)


@given(st.lists(st.tuples(st.sampled_from((1, 2)), st.binary(max_size=20))), st.lists(st.integers(1, 7)))
def test_frames_come_apart_however_they_arrive(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(bytes((kind, 0, 0, 0)) + len(data).to_bytes(4, "big") + data for kind, data in frames)
    taking, found, at = Demultiplexer(), b"", 0
    while at < len(stream):
        size = cuts[at % len(cuts)] if cuts else 1
        found += taking.feed(stream[at : at + size])
        at += size
    assert found == b"".join(data for _, data in frames)
