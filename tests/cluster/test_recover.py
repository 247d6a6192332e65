"""A quorum is lost for good: one command prepares a survivor, which goes on alone; the others join it empty."""

import base64
import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.cluster import three_servers
from tests.support.process import Agent


@pytest.mark.slow
def test_a_survivor_goes_on_alone_and_others_join_it(tmp_path: Path) -> None:
    with three_servers(tmp_path, 45, autopilot={"server_stabilization_time": "1s"}) as (survivor, lost, other):
        data = survivor.folder / "data"
        recover = ("operator", "raft", "recover", f"-data-dir={data}")
        for number in range(50):
            assert survivor.json("PUT", f"/v1/kv/before/{number}", b"%d" % number) is True

        running = survivor.cli(*recover)
        assert running.returncode == 1 and "is running. Stop it first" in running.stderr

        for agent in (lost, other, survivor):
            agent.stop(signal.SIGKILL)
        shutil.rmtree(lost.folder / "data")

        seen = survivor.cli(*recover, "-inspect")
        assert seen.returncode == 0 and "3 of them vote, so the cluster needs 2" in seen.stdout, seen.stdout
        asked = survivor.cli(*recover)
        assert asked.returncode == 1 and "Nothing was changed." in asked.stderr
        assert not (data / "raft" / "peers.json").exists()
        agreed = survivor.cli(*recover, "-yes")
        assert agreed.returncode == 0 and "counts as\n  agreed" in agreed.stdout, agreed.stderr
        assert [peer["non_voter"] for peer in json.loads((data / "raft" / "peers.json").read_text())] == [False]

        survivor.start()
        survivor.ready()
        rows = survivor.json("GET", "/v1/kv/before/?recurse")
        assert {row["Key"]: base64.b64decode(row["Value"]) for row in rows} == {
            f"before/{number}": b"%d" % number for number in range(50)
        }
        assert survivor.json("PUT", "/v1/kv/after", b"alone") is True
        assert not (data / "raft" / "peers.json").exists()
        assert len(survivor.json("GET", "/v1/operator/raft/configuration")["Servers"]) == 1

        shutil.rmtree(other.folder / "data")
        other.start()
        other.until(lambda: other.json("GET", "/v1/kv/after?stale"))
        survivor.until(
            lambda: (
                [row["Voter"] for row in survivor.json("GET", "/v1/operator/raft/configuration")["Servers"]]
                == [True, True]
            )
        )
        survivor.stop(signal.SIGKILL)
        survivor.start()
        survivor.ready()
        assert survivor.json("PUT", "/v1/kv/after", b"together") is True


def test_another_servers_state_and_bad_peers_are_refused(tmp_path: Path) -> None:
    def server(name: str) -> Agent:
        settings = {"server": True, "bootstrap": True, "node_name": name, "data_dir": str(tmp_path / name / "data")}
        return Agent(tmp_path / name, [], settings)

    one, two = server("one"), server("two")
    try:
        one.start()
        one.ready()
        one.stop()
        shutil.copytree(one.folder / "data" / "raft", two.folder / "data" / "raft")
        two.start()
        assert two.process is not None and two.process.wait(60) == 1
        assert "must not vote in its name" in two.log.read_text()

        peers = one.folder / "data" / "raft" / "peers.json"
        peers.write_text('[{"id": "x", "address": "nowhere"}]')
        one.start()
        assert one.process is not None and one.process.wait(60) == 1
        assert "entry 0: address 'nowhere' is not host:port" in one.log.read_text()
        peers.write_text('[{"id": "x", "address": "127.0.0.1:8300"}]')
        one.start()
        assert one.process.wait(60) == 1
        assert "is not among the servers listed" in one.log.read_text()
        peers.unlink()
        one.start()
        one.ready()
    finally:
        for agent in (one, two):
            if agent.process is not None:
                agent.stop(signal.SIGKILL)
