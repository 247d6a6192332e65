"""Every command once: the real process against a real agent, its exit code and what it writes."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.tables import COMMANDS
from tests.support.process import Agent, dev_agent

ELSEWHERE = {
    **{name: "tests/agent/cli/test_acl_commands.py" for name in COMMANDS if name.startswith("acl ")},
    "agent": "tests/support/process.py",
    "connect proxy": "tests/connect_proxy/test_proxy.py",
    "debug": "tests/agent/test_debug.py",
    "demo": "tests/cluster/test_demo.py",
    "monitor": "tests/agent/test_monitor.py",
    "operator raft recover": "tests/cluster/test_recover.py",
    "tls ca create": "tests/agent/test_https.py",
    "tls cert create": "tests/agent/test_https.py",
}
"""Commands that have a test of their own."""
UUID = r"[0-9a-f]{8}-[0-9a-f-]{27}"
FILES = {
    "web.hcl": 'service {\n  name = "web"\n  id = "web-1"\n  port = 80\n  tags = ["v1", "prod"]\n}\n',
    "defaults.hcl": 'Kind = "service-defaults"\nName = "web"\nProtocol = "http"\n',
    "keys.json": '[{"key": "imported/a", "flags": 7, "value": "YQ=="}, {"key": "imported/b", "value": ""}]',
    "ca.json": '{"Provider": "consul", "Config": {"LeafCertTTL": "24h"}}',
    "good.hcl": 'data_dir = "/tmp/x"\nbind_addr = "127.0.0.1"\n',
    "value.bin": "from a file",
    "jwt": "proof",
}

# Words, exit code, and a pattern that all of standard output matches. Wrong words say so on standard error.
STEPS: list[tuple[str, int, str]] = [
    ("version", 0, r"Consul v1\.14\.\d+\nlictor v\S+\nProtocol 2 spoken .*\n"),
    ("version -format=json", 0, r'(?s){\n   "Version": "1\.14.*"Max": 3.*}\n'),
    ("keygen", 0, r"[A-Za-z0-9+/]{43}=\n"),
    ("completion fish", 0, r"(?s)# Completion of lictor for fish.*"),
    ("openapi", 0, r'(?s){.*"openapi": ?"3\.1\.0".*'),
    ("validate good.hcl", 0, r"Configuration is valid!\n"),
    ("validate -quiet good.hcl", 0, r""),
    ("validate missing.hcl", 1, r""),
    # Members
    ("members", 0, r"Node +Address +Status +Type +Build .*\nnode1 +127\.0\.0\.1:\d+ +alive +server +1\.14\.\d+ .*\n"),
    ("members -detailed", 0, r"Node .*Tags\nnode1 .* alive +acls=0,.*role=consul.*\n"),
    ("members -status=^left$", 2, r""),
    ("members -status=(", 1, r""),
    ("info", 0, r"(?s)agent:\n\tcheck_monitors = .*\nraft:\n.*"),
    ("join 127.0.0.1:${serf_lan}", 0, r"Successfully joined cluster by contacting 1 nodes\.\n"),
    ("join 127.0.0.1:1", 1, r""),
    ("force-leave nobody", 1, r""),
    ("keyring -list", 1, r"==> Gathering installed encryption keys\.\.\.\n"),
    ("reload", 0, r"Configuration reload triggered\n"),
    ("leave now", 1, r"(?s)Usage: lictor leave .*"),
    # Keys
    ("kv put a/x 1", 0, r"Success! Data written to: a/x\n"),
    ("kv put a/file @value.bin", 0, r"Success! Data written to: a/file\n"),
    ("kv put -flags=42 -base64 a/y aGk=", 0, r"Success! Data written to: a/y\n"),
    ("kv put a/minus -5", 0, r"Success! Data written to: a/minus\n"),
    ("kv put a/minus -flags=5", 1, r""),
    ("kv delete a/minus", 0, r"Success! Deleted key: a/minus\n"),
    ("kv put -base64 a/z !!", 1, r""),
    ("kv put /a 1", 1, r""),
    ("kv put -cas -modify-index=1 a/x 2", 1, r""),
    ("kv get a/x", 0, r"1\n"),
    ("kv get a/file", 0, r"from a file\n"),
    ("kv get /a/x", 0, r"1\n"),
    ("kv get -base64 a/x", 0, r"MQ==\n"),
    ("kv get -detailed a/y", 0, r"CreateIndex      \d+\nFlags            42\nKey +a/y\nLockIndex +0\nModifyIndex +\d+\n"
                                r"Session          -\nValue            hi\n"),
    ("kv get -recurse a/", 0, r"a/file:from a file\na/x:1\na/y:hi\n"),
    ("kv get -recurse -detailed a/", 0, r"(?s)CreateIndex.*Value            1\n\nCreateIndex.*Value            hi\n"),
    ("kv get -keys", 0, r"a/\n"),
    ("kv get -keys -separator= a", 0, r"a/file\na/x\na/y\n"),
    ("kv get none", 1, r""),
    ("kv get -datacenter=nowhere a/x", 1, r""),
    ("kv import @keys.json", 0, r"Imported: imported/a\nImported: imported/b\n"),
    ("kv import -prefix=copy/ @keys.json", 0, r"Imported: copy/imported/a\nImported: copy/imported/b\n"),
    ('kv import [{"key":"bad","value":"!!"}]', 1, r""),
    ("kv export imported/", 0,
     r'\[\n\t{\n\t\t"key": "imported/a",\n\t\t"flags": 7,\n\t\t"value": "YQ=="\n\t},\n(.|\n)*\]\n'),
    ("kv delete -modify-index=1 a/x", 1, r""),
    ("kv delete a/x", 0, r"Success! Deleted key: a/x\n"),
    ("kv delete -recurse", 0, r"Success! Deleted keys with prefix: \n"),
    ("kv get -recurse", 0, r""),
    ("lock -timeout=10s jobs/one true", 0, r""),
    ("lock jobs/one printenv CONSUL_LOCK_HELD", 0, r"true\n"),
    ("lock -child-exit-code jobs/one exit 3", 2, r""),
    ("lock -timeout=10s -try=1s jobs/one true", 1, r""),
    # Services
    ("services register web.hcl", 0, r"Registered service: web\n"),
    ("services register -name=db -port=5432 -tag=x -meta=k=v -tagged-address=lan=10.0.0.1:80", 0,
     r"Registered .*: db\n"),
    ("services register -name=w -tagged-address=lan=10.0.0.1:x", 1, r""),
    ("services register -name=w -meta=bad", 1, r""),
    ("services register -name=w web.hcl", 1, r""),
    ("maint -enable -service=db -reason=disk", 0, r'Service maintenance is now enabled for "db"\n'),
    ("maint", 0, r"Service:\n  ID:     db\n  Reason: disk\n\n"),
    ("maint -disable -service=db", 0, r'Service maintenance is now disabled for "db"\n'),
    ("maint -enable -disable", 1, r""),
    ("catalog datacenters", 0, r"dc1\n"),
    ("catalog nodes", 0, r"Node +ID +Address +DC\nnode1  [0-9a-f]{8}  127\.0\.0\.1  dc1\n"),
    ("catalog nodes -service=web -detailed", 0,
     rf"Node +ID .*TaggedAddresses +Meta\nnode1  {UUID}  .*lan=127\.0\.0\.1.*\n"),
    ("catalog nodes -filter=Bogus==1", 1, r""),
    ("catalog services -tags", 0, r"consul +\ndb +x\nweb +prod,v1\n"),
    ("catalog services -node=node1", 0, r"consul\ndb\nweb\n"),
    ("services deregister -id=db", 0, r"Deregistered service: db\n"),
    ("services deregister -id=db", 1, r""),
    # Events, jobs, watches
    ("event -name=deploy 1.2.3", 0, rf"Event ID: {UUID}\n"),
    ("event payload", 1, r""),
    ("watch -type=event -name=deploy", 0, r'(?s)\[\n    {\n        "ID".*"Payload": "MS4yLjM=".*\]\n'),
    ("watch -type=nodes", 0, r'(?s)\[\n    {\n.*"Node": "node1".*'),
    ("watch -type=nosuch", 1, r""),
    ("exec -wait=4s echo hi", 0, r"(?s)    node1: hi\n.*==> node1: finished with exit code 0\n1 / 1 .*\n"),
    ("exec -wait=4s exit 3", 2, r"(?s).*==> node1: finished with exit code 3\n.*"),
    # The mesh
    ("config write defaults.hcl", 0, r"Config entry written: service-defaults/web\n"),
    ("config write -cas -modify-index=1 defaults.hcl", 1, r""),
    ("config read -kind=service-defaults -name=web", 0,
     r'(?s){\n    "Kind": "service-defaults",.*"Protocol": "http".*'),
    ("config list -kind=service-defaults", 0, r"web\n"),
    ("config delete -filename=defaults.hcl -kind=service-defaults", 1, r""),
    ("connect expose -service=web -ingress-gateway=edge -port=8888 -protocol=http -host=www.example.com", 0,
     r'Successfully updated .* for ingress service "edge"\nSuccessfully set up intention for "edge" -> "web"\n'),
    ("connect expose -service=web -ingress-gateway=edge -port=8888", 1, r""),
    ("config delete -kind=ingress-gateway -name=edge", 0, r"Config entry deleted: ingress-gateway/edge\n"),
    ("config delete -filename=defaults.hcl", 0, r"Config entry deleted: service-defaults/web\n"),
    ("connect ca get-config", 0, r'(?s){\n\t"Provider": "consul",\n\t"Config": {.*'),
    ("connect ca set-config -config-file=ca.json", 0, r"Configuration updated!\n"),
    ("intention create -deny -meta=a=b api db", 0, r"Created: api => db \(deny\)\n"),
    ("intention create api db", 1, r""),
    ("intention create -replace api db", 0, r""),
    ("intention create other/api db", 1, r""),
    ("intention check api db", 0, r"Allowed\n"),
    ("intention get api db", 0,
     rf"Source: +api\nDestination: +db\nAction: +allow\nID: +{UUID}\nCreated At: +\w+day, .* UTC\n"),
    ("intention match db", 0, r"api => db \(allow\)\n"),
    ("intention list", 0,
     rf"ID +Source +Action +Destination +Precedence\n(.*\n)*{UUID}  api     allow   db           9\n(.*\n)*"),
    ("intention delete api db", 0, r"Intention deleted\.\n"),
    ("intention check api", 2, r""),
    # Servers
    ("operator raft list-peers", 0,
     rf"Node +ID +Address +State +Voter +RaftProtocol\nnode1  {UUID}  .* leader +true +3\n"),
    ("operator raft remove-peer -id=nobody", 1, r""),
    ("operator raft transfer-leader", 1, r""),
    ("operator autopilot get-config", 0, r"(?s)CleanupDeadServers = true\n.*"),
    ("operator autopilot set-config -max-trailing-logs=99", 0, r"Configuration updated!\n"),
    ("operator autopilot set-config -max-trailing-logs=-1", 1, r""),
    ("operator autopilot state", 0, r"(?s)Healthy: +true\n.*"),
    ("snapshot save backup.snap", 0, r"Saved and verified snapshot to index \d+\n"),
    ("snapshot inspect backup.snap", 0, r"(?s) ID +.*\n Type +Count +Size\n.*\n Total .*\n"),
    ("snapshot restore backup.snap", 0, r"Restored snapshot\n"),
    ("snapshot restore value.bin", 1, r""),
    # Access, and peers: both are off in this agent, which says so
    *((f"acl {kind} {verb}", 1, r"") for kind in ("policy", "role", "token")
      for verb in ("list", "read -id=x", "delete -id=x")),
    ("acl bootstrap", 1, r""),
    ("acl set-agent-token default secret", 1, r""),
    ("login -method=m -bearer-token-file=jwt -token-sink-file=sink", 1, r""),
    ("logout", 1, r""),
    ("peering list", 1, r""),
    ("peering read -name=x", 1, r""),
    ("peering delete -name=x", 1, r""),
    ("peering establish -name=x -peering-token=e30=", 1, r""),
    ("peering generate-token -name=x", 1, r""),
]  # fmt: skip


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    settings = {"disable_remote_exec": False, "peering": {"enabled": False}}
    with dev_agent(tmp_path_factory.mktemp("agent"), **settings) as running:
        for name, text in FILES.items():
            (running.folder / name).write_text(text)
        yield running


def lictor(agent: Agent, *words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    command, env = agent.command(*words, **more)
    env["PYTHONPATH"] = os.getcwd()
    return subprocess.run(command, env=env, cwd=agent.folder, capture_output=True, timeout=60, check=False)


@pytest.mark.timeout(900)
def test_every_command(agent: Agent) -> None:
    for line, code, pattern in STEPS:
        words = line.replace("${serf_lan}", str(agent.ports["serf_lan"])).split()
        done = lictor(agent, *words)
        told = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == code, (line, told)
        assert re.fullmatch(pattern, told[0]), (line, told)
        assert "Traceback" not in told[1] and "Internal error" not in told[1], (line, told)
        # What fails says why, but for the answers that are exit codes, and `lock` speaks for its command.
        if code == 1 and not line.startswith("intention check"):
            assert told[1].strip(), line


def test_no_command_is_without_a_test() -> None:
    for name, place in ELSEWHERE.items():
        text = (Path(__file__).parents[3] / place).read_text()
        assert all(word in text for word in name.split()), name
    told = {name for name in COMMANDS for line, _, _ in STEPS if f"{line} ".startswith(f"{name} ")}
    assert set(COMMANDS) - told - set(ELSEWHERE) == {"rtt"}  # Below.


def test_bytes_come_back_as_they_were(agent: Agent) -> None:
    value = bytes(range(256)) + "é\n".encode()
    command, env = agent.command("kv", "put", "bytes/é", "-")
    assert subprocess.run(
        command, env=env, input=value, timeout=60, check=True, capture_output=True
    ).stdout.decode() == ("Success! Data written to: bytes/é\n")
    assert lictor(agent, "kv", "get", "bytes/é").stdout == value + b"\n"
    # Also where the locale knows no UTF-8, and among other keys.
    assert lictor(agent, "kv", "get", "bytes/é", LC_ALL="C", PYTHONUTF8="0").stdout == value + b"\n"
    assert lictor(agent, "kv", "get", "-recurse", "bytes/", LC_ALL="C", PYTHONUTF8="0").stdout == (
        "bytes/é:".encode() + value + b"\n"
    )
    assert lictor(agent, "kv", "get", "-detailed", "bytes/é").stdout.endswith(b"Value            " + value + b"\n")
    exported = json.loads(lictor(agent, "kv", "export", "bytes/").stdout)
    assert [one["key"] for one in exported] == ["bytes/é"]
    assert lictor(agent, "kv", "delete", "bytes/é").returncode == 0


def test_a_reader_that_goes_away_is_no_error(agent: Agent) -> None:
    for number in range(3):
        agent.json("PUT", f"/v1/kv/pipe/{number}", b"x" * 400_000)
    for words in (["kv", "export"], ["kv", "get", "-recurse"], ["kv", "get", "pipe/0"]):
        command, env = agent.command(*words)
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.read(1)
            process.stdout.close()
            told = process.stderr.read()
            assert process.wait(60) == 1 and told == b"", words
    agent.json("DELETE", "/v1/kv/pipe?recurse")


@pytest.mark.parametrize("words", [("watch", "-type=key", "-key=never", "cat"), ("lock", "held", "sleep 60")])
def test_commands_that_go_on_end_well_when_told_to(agent: Agent, words: tuple[str, ...]) -> None:
    with agent.running(*words) as process:
        agent.until(lambda: agent.json("GET", "/v1/session/list") if words[0] == "lock" else process.poll() is None)
        agent.until(lambda: b"SigCgt" in Path(f"/proc/{process.pid}/status").read_bytes() and _catches(process.pid))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 1)
        assert process.stderr is not None and "Traceback" not in process.stderr.read()


def _catches(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM of its own."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("SigCgt"))
    return bool(int(line.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def _heed_interrupts() -> None:
    """A job that a shell put in the background ignores interrupts, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_ends_a_command_as_a_signal_does(agent: Agent) -> None:
    command, env = agent.command("kv", "put", "never", "-")
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=env, preexec_fn=_heed_interrupts, **pipes) as process:
        assert process.stderr is not None
        agent.until(lambda: Path(f"/proc/{process.pid}/wchan").exists() and _reads(process.pid))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT and process.stderr.read() == b""


def _reads(pid: int) -> bool:
    """Whether a process waits for what is to come through its standard input."""
    number, *arguments = Path(f"/proc/{pid}/syscall").read_text().split()
    return number in ("0", "63") and arguments[0] == "0x0"  # `read`, on most machines and on others.


def test_distances(agent: Agent) -> None:
    row = {"Node": "far", "Address": "10.0.0.9"}
    agent.json("PUT", "/v1/catalog/register", row)
    coordinate = {"Vec": [0.01] + [0.0] * 7, "Error": 1.5, "Adjustment": 0.0, "Height": 0.00001}
    for node in ("node1", "far"):
        agent.json("PUT", "/v1/coordinate/update", {"Node": node, "Segment": "", "Coord": coordinate})
    agent.until(lambda: agent.json("GET", "/v1/coordinate/node/far"))
    done = lictor(agent, "rtt", "far", "node1")
    assert re.fullmatch(rb"Estimated far <-> node1 rtt: \d+\.\d{3} ms \(using LAN coordinates\)\n", done.stdout)
    assert lictor(agent, "rtt", "far", "nobody").returncode == 1


def test_z_the_agent_leaves(agent: Agent) -> None:
    assert lictor(agent, "leave").stdout == b"Graceful leave complete\n"
    assert agent.process is not None and agent.process.wait(60) == 0
    refused = lictor(agent, "leave")
    assert refused.returncode == 1 and b"Error leaving: Put " in refused.stderr
