"""`acl …` and every other command against a real agent that denies what nobody allowed, with and without tokens."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Agent

ROOT = "10000000-0000-4000-8000-000000000001"
UNKNOWN = "99999999-0000-4000-8000-000000000001"
UUID = r"[0-9a-f]{8}-[0-9a-f-]{27}"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC"
FILES = {
    "web.hcl": 'service {\n  name = "web"\n  port = 80\n}\n',
    "mesh.hcl": 'Kind = "mesh"\n',
    "defaults.hcl": 'Kind = "service-defaults"\nName = "web"\nProtocol = "http"\n',
    "ca.json": '{"Provider": "consul", "Config": {"LeafCertTTL": "24h"}}',
    "rules.hcl": 'key_prefix "x/" {\n  policy = "write"\n}\n',
    "jwt.json": json.dumps({"BoundIssuer": "corp", "JWKSURL": "https://127.0.0.1:1/keys", "JWKSCACert": ""}),
    "root": ROOT,
    "empty": "",
}


@contextmanager
def denying(folder: Path, acl: dict[str, Any], **settings: Any) -> Iterator[Agent]:
    """A dev agent in which nobody may do anything without a token."""
    agent = Agent(folder, ["-dev"], {"acl": {"enabled": True, "default_policy": "deny", **acl}, **settings})
    agent.start()
    try:
        agent.ready()
        yield agent
    finally:
        agent.stop()


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    tokens = {"initial_management": ROOT, "agent": ROOT}
    with denying(tmp_path_factory.mktemp("agent"), {"tokens": tokens}, disable_remote_exec=False) as running:
        for name, text in FILES.items():
            (running.folder / name).write_text(text)
        running.until(lambda: running.request("GET", f"/v1/acl/token/self?token={ROOT}")[0] == 200)
        running.until(lambda: len(running.json("GET", f"/v1/catalog/nodes?token={ROOT}")) == 1)
        yield running


def lictor(agent: Agent, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    command, env = agent.command(*words)
    env = {key: value for key, value in env.items() if not key.startswith("CONSUL_HTTP_TOKEN")}
    env |= {"PYTHONPATH": os.getcwd(), **more}
    return subprocess.run(
        command, env=env, cwd=agent.folder, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def root(agent: Agent, line: str, stdin: str = "") -> str:
    """What a command says that must succeed with the management token."""
    done = lictor(agent, *line.split(), stdin=stdin, CONSUL_HTTP_TOKEN=ROOT)
    assert done.returncode == 0 and not done.stderr, (line, done.stdout, done.stderr)
    return done.stdout


def refused(agent: Agent, line: str, reason: str, stdin: str = "") -> None:
    done = lictor(agent, *line.split(), stdin=stdin, CONSUL_HTTP_TOKEN=ROOT)
    assert done.returncode == 1 and not done.stdout and reason in done.stderr, (line, done.stdout, done.stderr)


# What each command says without a token: exit code, and a part of the error ("" for lists, which show nothing).
DENIED: list[tuple[str, int, str]] = [
    ("members", 2, ""),
    ("kv put a b", 1, "key:write"),
    ("kv get a", 1, "key:read"),
    ("kv get -recurse", 0, ""),
    ("kv export", 0, ""),
    ("kv delete a", 1, "key:write"),
    ("exec -wait=500ms true", 1, "session:write"),
    ("lock -try=5s l true", 1, "session:write"),
    ("watch -type=key -key=a", 1, "key:read"),
    ("watch -type=nodes", 0, ""),
    ("debug -duration=10s -interval=5s -output=denied", 1, "agent:read"),
    ("monitor", 1, "agent:read"),
    ("snapshot save x.snap", 1, "acl:write"),
    ("event -name=x", 1, "event:write"),
    ("info", 1, "agent:read"),
    ("join 127.0.0.1:1", 1, "agent:write"),
    ("force-leave nobody", 1, "operator:write"),
    ("reload", 1, "agent:write"),
    ("leave", 1, "agent:write"),
    ("rtt node1", 1, "agent:read"),
    ("catalog services", 0, "No services match"),
    ("catalog nodes", 0, "No nodes match"),
    ("services register web.hcl", 1, "service:write"),
    ("maint -enable", 1, "node:write"),
    ("config write defaults.hcl", 1, "service:write"),
    ("config write mesh.hcl", 1, "mesh:write"),
    ("config read -kind=service-defaults -name=web", 1, "service:read"),
    ("config delete -kind=service-defaults -name=web", 1, "service:write"),
    ("config list -kind=service-defaults", 0, ""),
    ("connect ca get-config", 1, "operator:write"),
    ("connect ca set-config -config-file=ca.json", 1, "operator:write"),
    ("connect expose -service=web -ingress-gateway=g -port=80", 1, "service:read"),
    ("intention create a b", 1, "Permission denied"),
    ("intention check a b", 2, "service:read"),
    ("intention list", 2, ""),
    ("operator raft list-peers", 1, "operator:read"),
    ("operator raft remove-peer -id=nobody", 1, "operator:write"),
    ("operator autopilot get-config", 1, "operator:read"),
    ("operator autopilot state", 1, "operator:read"),
    ("keyring -list", 1, "keyring:read"),
    *((f"acl {kind} list", 1, "acl:read") for kind in ("token", "policy", "role", "auth-method", "binding-rule")),
    ("acl policy create -name=x", 1, "acl:write"),
    ("acl set-agent-token default x", 1, "agent:write"),
]


@pytest.mark.timeout(600)
def test_without_a_token_nothing_is_allowed(agent: Agent) -> None:
    for line, code, reason in DENIED:
        done = lictor(agent, *line.split())
        told = line, done.returncode, done.stdout, done.stderr
        assert done.returncode == code and reason in done.stderr, told
        if code == 1:
            assert "Unexpected response code: 403 (Permission denied" in done.stderr, told
        assert "node1" not in done.stdout and "Traceback" not in done.stderr, told


@pytest.mark.timeout(600)
def test_a_token_that_nobody_knows_is_refused_everywhere(agent: Agent) -> None:
    for line, _, _ in DENIED:
        done = lictor(agent, *line.split(), CONSUL_HTTP_TOKEN=UNKNOWN)
        told = line, done.returncode, done.stdout, done.stderr
        assert done.returncode == (2 if line.startswith("intention check") else 1), told
        assert "Unexpected response code: 403 (ACL not found)" in done.stderr and UNKNOWN not in done.stderr, told
    assert lictor(agent, "catalog", "datacenters", CONSUL_HTTP_TOKEN=UNKNOWN).stdout == "dc1\n"


@pytest.mark.timeout(600)
def test_the_management_token_allows_everything(agent: Agent) -> None:
    for line, pattern in (
        ("members", r"Node .*\nnode1 .*\n"),
        ("kv put a b", r"Success! .*\n"),
        ("kv get a", r"b\n"),
        ("kv get -recurse", r"a:b\n"),
        ("kv export", r'(?s)\[.*"a".*\]\n'),
        ("exec -wait=4s echo hi", r"(?s)    node1: hi\n.*1 / 1 .*\n"),
        ("lock -try=5s l printenv CONSUL_LOCK_HELD", r"true\n"),
        ("watch -type=key -key=a", r'(?s){.*"Key": "a".*}\n'),
        ("watch -type=nodes", r'(?s)\[.*"node1".*\]\n'),
        ("snapshot save x.snap", r"Saved and verified snapshot to index \d+\n"),
        ("snapshot restore x.snap", r"Restored snapshot\n"),
        ("event -name=x", rf"Event ID: {UUID}\n"),
        ("info", r"(?s)agent:\n.*"),
        ("reload", r"Configuration reload triggered\n"),
        ("catalog services", r"consul\n"),
        ("services register web.hcl", r"Registered service: web\n"),
        ("services deregister -id=web", r"Deregistered service: web\n"),
        ("maint -enable", r"Node maintenance is now enabled\n"),
        ("maint -disable", r"Node maintenance is now disabled\n"),
        ("config write defaults.hcl", r"Config entry written: service-defaults/web\n"),
        ("config delete -kind=service-defaults -name=web", r"Config entry deleted: service-defaults/web\n"),
        ("connect ca get-config", r'(?s){.*"Provider": "consul".*}\n'),
        ("intention create a b", r"Created: a => b \(allow\)\n"),
        ("intention check a b", r"Allowed\n"),
        ("operator raft list-peers", r"(?s)Node .*node1 .*leader.*"),
        ("operator autopilot state", r"(?s)Healthy: +true\n.*"),
        ("acl policy list", r"global-management:\n(   .*\n)+\n"),
        ("acl role list", r"\n"),
        ("acl set-agent-token replication x", r'ACL token "replication" set successfully\n'),
        ("acl set-agent-token recovery x", r'ACL token "recovery" set successfully\n'),
    ):
        assert re.fullmatch(pattern, root(agent, line)), line


# The rights that docs/acl.md names for a command are enough for it.
ENOUGH: list[tuple[str, str]] = [
    ('key "r" { policy = "write" }', "kv put r b"),
    ('key "r" { policy = "read" }', "kv get r"),
    ('key_prefix "r/" { policy = "write" } session "node1" { policy = "write" }', "lock -try=5s r/lock true"),
    ('service "web" { policy = "write" }', "services register web.hcl"),
    ('service "web" { policy = "write" }', "maint -enable -service=web"),
    ('service "web" { policy = "read" } node "node1" { policy = "read" }', "catalog nodes -service=web"),
    ('node "node1" { policy = "read" }', "members"),
    ('agent "node1" { policy = "read" }', "info"),
    ('agent "node1" { policy = "write" }', "reload"),
    ('operator = "write"', "connect ca get-config"),
    ('node "node1" { policy = "write" }', "maint -disable"),
    ('event "x" { policy = "write" }', "event -name=x"),
    (
        'key_prefix "_rexec" { policy = "write" } session "node1" { policy = "write" } '
        'event "_rexec" { policy = "write" }',
        "exec -wait=4s true",
    ),
    ('service "b2" { policy = "read" intentions = "write" }', "intention create a b2"),
    ('service "b2" { policy = "read" intentions = "read" }', "intention list"),
    ('mesh = "write"', "config write mesh.hcl"),
    ('service "web" { policy = "write" }', "config write defaults.hcl"),
    ('operator = "read"', "operator raft list-peers"),
    ('acl = "write"', "snapshot save y.snap"),
    ('acl = "read"', "acl token list"),
]


@pytest.mark.timeout(600)
def test_the_rights_of_the_guide_are_enough(agent: Agent) -> None:
    for number, (rules, line) in enumerate(ENOUGH):
        policy = {"Name": f"enough-{number}", "Rules": rules}
        agent.json("PUT", f"/v1/acl/policy?token={ROOT}", policy)
        body = {"Policies": [{"Name": policy["Name"]}]}
        token = agent.json("PUT", f"/v1/acl/token?token={ROOT}", body)
        done = lictor(agent, *line.split(), CONSUL_HTTP_TOKEN=token["SecretID"])
        assert done.returncode == 0, (rules, line, done.stdout, done.stderr)
        agent.json("DELETE", f"/v1/acl/token/{token['AccessorID']}?token={ROOT}")
        found = agent.json("GET", f"/v1/acl/policy/name/{policy['Name']}?token={ROOT}")
        agent.json("DELETE", f"/v1/acl/policy/{found['ID']}?token={ROOT}")


def test_the_four_ways_to_give_a_token_and_which_of_them_wins(agent: Agent) -> None:
    file, unknown = str(agent.folder / "root"), str(agent.folder / "unknown")
    Path(unknown).write_text(f"{UNKNOWN}\n")
    for words, env in (
        ([f"-token={ROOT}"], {}),
        ([f"-token-file={file}"], {}),
        ([], {"CONSUL_HTTP_TOKEN": ROOT}),
        ([], {"CONSUL_HTTP_TOKEN_FILE": file}),
        # Flags win over the environment, files over texts.
        ([f"-token={ROOT}"], {"CONSUL_HTTP_TOKEN": UNKNOWN, "CONSUL_HTTP_TOKEN_FILE": unknown}),
        ([f"-token-file={file}"], {"CONSUL_HTTP_TOKEN": UNKNOWN}),
        ([f"-token-file={file}", f"-token={UNKNOWN}"], {}),
        ([], {"CONSUL_HTTP_TOKEN": UNKNOWN, "CONSUL_HTTP_TOKEN_FILE": file}),
    ):
        done = lictor(agent, "acl", "token", "read", "-self", *words, **env)
        assert done.returncode == 0 and f"SecretID:         {ROOT}" in done.stdout, (words, env, done.stderr)
    missing = lictor(agent, "kv", "get", "-token-file=missing", "a")
    assert missing.returncode == 1 and "missing: no such file" in missing.stderr


def test_policies(agent: Agent) -> None:
    made = lictor(
        agent, "acl", "policy", "create", "-name=p1", "-description=first", '-rules=key_prefix "" { policy = "read" }',
        "-valid-datacenter=dc1", CONSUL_HTTP_TOKEN=ROOT,
    ).stdout  # fmt: skip
    found = re.fullmatch(
        rf"ID:           ({UUID})\nName:         p1\nDescription:  first\nDatacenters:  dc1\nRules:\n"
        r'key_prefix "" { policy = "read" }\n',
        made,
    )
    assert found is not None
    assert root(agent, "acl policy read -name=p1") == root(agent, f"acl policy read -id={found[1][:13]}") == made
    meta = root(agent, "acl policy read -name=p1 -meta")
    assert re.search(r"Hash:         [0-9a-f]{64}\nCreate Index: \d+\nModify Index: \d+\nRules:", meta)
    # From a file and from standard input; an empty description empties.
    assert "x/" in root(agent, "acl policy update -name=p1 -rules=@rules.hcl")
    changed = json.loads(
        root(agent, "acl policy update -name=p1 -rules=- -description= -format=json", 'key "a" { policy = "deny" }')
    )
    assert changed["Rules"] == 'key "a" { policy = "deny" }' and changed["Datacenters"] == ["dc1"]
    assert changed["Description"] == "" and changed["ID"] == found[1]
    # Renamed by its ID; then all of it replaced.
    assert "Name:         p2\n" in root(agent, f"acl policy update -id={found[1]} -name=p2")
    assert root(agent, f"acl policy update -id={found[1]} -name=p3 -no-merge") == (
        f"ID:           {found[1]}\nName:         p3\nDescription:  \nDatacenters:  \nRules:\n\n"
    )
    assert f"p3:\n   ID:           {found[1]}\n   Description:  \n   Datacenters:  \n" in root(agent, "acl policy list")
    assert {row["Name"] for row in json.loads(root(agent, "acl policy list -format=json"))} >= {
        "global-management",
        "p3",
    }
    for line, reason in (
        ("acl policy create", "Missing required '-name' flag"),
        ("acl policy create -name=p3", "already exists"),
        ("acl policy create -name=a/b", "Invalid Policy"),
        ("acl policy create -name=x -rules={", "Failed to create new policy: Unexpected response code: 500"),
        ("acl policy create -name=x -rules=@missing.hcl", "Error loading rules: open missing.hcl: no such file"),
        ("acl policy create -name=x more", "Too many arguments (expected 0, got 1)"),
        ("acl policy read", "either the -id or -name"),
        ("acl policy read -name=none", "ACL not found"),
        ("acl policy read -id=ffff", "No such policy ID with prefix: ffff"),
        ("acl policy update -description=x", "without specifying -id or -name"),
        ("acl policy update -name=none", "ACL not found"),
        ("acl policy list -format=xml", 'Invalid format "xml"'),
        ("acl policy delete -name=global-management", "Error deleting policy: Unexpected response code: 500"),
    ):
        refused(agent, line, reason)
    assert "00000001" in root(agent, "acl policy read -id=global-management")
    assert root(agent, "acl policy delete -name=p3") == f'Policy "{found[1]}" deleted successfully\n'


def test_roles_and_tokens(agent: Agent) -> None:
    policy = json.loads(root(agent, "acl policy create -format=json -name=keys -rules=@rules.hcl"))
    root(agent, "acl policy create -name=other")
    role = root(agent, f"acl role create -name=r1 -policy-id={policy['ID'][:18]} -service-identity=web:dc1,dc2")
    found = re.fullmatch(
        rf"ID:           ({UUID})\nName:         r1\nDescription:  \nPolicies:\n   {policy['ID']} - keys\n"
        r"Service Identities:\n   web \(Datacenters: dc1, dc2\)\n\n",
        role,
    )
    assert found is not None and root(agent, "acl role read -name=r1") == role
    merged = json.loads(
        root(
            agent, f"acl role update -format=json -id={found[1][:13]} -description=d -policy-name=other"
            " -policy-name=keys -service-identity=web -node-identity=n1:dc1"
        )
    )  # fmt: skip
    assert [one["Name"] for one in merged["Policies"]] == ["keys", "other"] and merged["Description"] == "d"
    assert merged["ServiceIdentities"] == [{"ServiceName": "web"}]
    assert merged["NodeIdentities"] == [{"NodeName": "n1", "Datacenter": "dc1"}]
    replaced = root(agent, f"acl role update -id={found[1]} -no-merge -name=r2 -policy-name=keys")
    assert "r2\nDescription:  \nPolicies:\n" in replaced and "other" not in replaced and "web" not in replaced
    assert f"r2:\n   ID:           {found[1]}\n   Description:  \n   Policies:\n      " in root(agent, "acl role list")

    token = root(agent, f"acl token create -role-id={found[1][:8]} -node-identity=n:dc1 -description=t -expires-ttl=1h")
    shown = re.fullmatch(
        rf"AccessorID:       ({UUID})\nSecretID:         ({UUID})\nDescription:      t\nLocal:            false\n"
        rf"Create Time:      {TIME}\nExpiration Time:  {TIME}\nRoles:\n   {found[1]} - r2\nNode Identities:\n"
        r"   n \(Datacenter: dc1\)\n\n",
        token,
    )
    assert shown is not None
    accessor, secret = shown[1], shown[2]
    assert lictor(agent, "acl", "token", "read", "-self", f"-token={secret}").stdout == token
    assert lictor(agent, "kv", "put", f"-token={secret}", "x/1", "2").returncode == 0
    assert lictor(agent, "kv", "put", f"-token={secret}", "y", "2").returncode == 1
    expanded = root(agent, f"acl token read -accessor-id={accessor[:13]} -expanded")
    assert "Roles:\n\tRole Name: r2\n" in expanded and '\t\t\t\t\tkey_prefix "x/" {\n' in expanded
    assert (
        'service identity "n"' not in expanded and '\t\tDescription: synthetic policy for node identity "n"' in expanded
    )
    assert '\t\t\tnode "n" {\n\t\t\t\tpolicy = "write"\n' in expanded and 'Resolved By Agent: "node1"' in expanded
    raw = json.loads(root(agent, f"acl token read -id={accessor} -expanded -format=json"))
    assert raw["AgentACLDefaultPolicy"] == "deny" and raw["ExpandedRoles"][0]["Name"] == "r2"

    # Rights that are not given, or kept by a -merge flag, are gone; the expiration stays.
    kept = json.loads(root(agent, f"acl token update -format=json -id={accessor} -policy-name=keys -merge-roles"))
    assert kept["Description"] == "t" and len(kept["Roles"]) == 1 and kept["Policies"][0]["Name"] == "keys"
    assert "NodeIdentities" not in kept and kept["SecretID"] == secret and "ExpirationTime" in kept
    kept = json.loads(
        root(agent, f"acl token update -format=json -id={accessor} -service-identity=web -merge-policies")
    )
    assert "Roles" not in kept and kept["Policies"] and kept["ServiceIdentities"] == [{"ServiceName": "web"}]
    clone = json.loads(root(agent, f"acl token clone -format=json -id={accessor} -description=twin"))
    assert clone["SecretID"] != secret and clone["Policies"] == kept["Policies"] and clone["Description"] == "twin"
    anonymous = root(agent, "acl token update -id=anonymous -policy-name=keys")
    assert "SecretID:         anonymous" in anonymous and lictor(agent, "kv", "get", "x/1").stdout == "2\n"
    root(agent, "acl token update -accessor-id=anonymous")
    assert lictor(agent, "kv", "get", "x/1").returncode == 1
    given = "77777777-0000-4000-8000-000000000001", "77777777-0000-4000-8000-000000000002"
    own = root(agent, f"acl token create -accessor={given[0]} -secret={given[1]} -policy-name=keys -local")
    assert f"AccessorID:       {given[0]}\nSecretID:         {given[1]}\n" in own and "Local:            true" in own
    listed = json.loads(root(agent, "acl token list -format=json"))
    assert given[0] in {row["AccessorID"] for row in listed} and all(row["Legacy"] is False for row in listed)
    assert "Legacy:           false\nHash: " in root(agent, "acl token list -meta")
    for line, reason in (
        ("acl role create", "Missing required '-name' flag"),
        ("acl role create -name=x", "Cannot create a role that grants nothing"),
        ("acl role create -name=x -policy-name=none", "Failed to create new role: Unexpected response code: 500"),
        ("acl role create -name=x -node-identity=bad", "Malformed -node-identity"),
        ("acl role create -name=x -service-identity=a:", "Malformed -service-identity"),
        ("acl role read -name=none", 'There is no role with name "none"'),
        ("acl role update -name=r2", "without specifying the -id"),
        ("acl token create", "Cannot create a token that grants nothing"),
        ("acl token create -policy-name=none", "Failed to create new token"),
        ("acl token create -policy-name=keys -expires-ttl=1x", "invalid value"),
        ("acl token create -policy-name=keys -expires-ttl=1s", "Failed to create new token"),
        ("acl token create -policy-name=keys -format=xml", "Invalid format"),
        (f"acl token create -policy-name=keys -secret={given[1]}", "already in use"),
        ("acl token create -policy-id=0123456789", "No such policy ID with prefix"),
        ("acl token read", "Must specify the -accessor-id"),
        ("acl token read -self -id=x", "Cannot use -self"),
        (f"acl token read -id={UNKNOWN}", "Error reading token: Unexpected response code: 403 (ACL not found)"),
        ("acl token read -id=7777777-", "No such token ID with prefix"),
        ("acl token read -id=", "Must specify the -accessor-id"),
        ("acl token delete -id=anonymous", "Error deleting token"),
    ):
        refused(agent, line, reason)
    assert len(json.loads(root(agent, "acl token list -format=json"))) == len(listed)  # -format=xml made none.
    assert root(agent, f"acl token delete -id={accessor}") == f'Token "{accessor}" deleted successfully\n'
    assert root(agent, "acl role delete -name=r2") == f'Role "{found[1]}" deleted successfully\n'


def test_a_beginning_that_several_ids_have_names_none_of_them(agent: Agent) -> None:
    for last in "12":
        accessor = f"abababab-0000-4000-8000-00000000000{last}"
        root(agent, f"acl token create -accessor={accessor} -service-identity=web")
    refused(agent, "acl token delete -id=abababab", "More than one token ID with prefix: abababab")
    assert "abababab" in root(agent, "acl token list")


def test_auth_methods_and_binding_rules(agent: Agent) -> None:
    key = agent.folder / "key.pem"
    config = {"BoundIssuer": "corp", "JWTValidationPubKeys": [_public_key()], "ClaimMappings": {"name": "name"}}
    key.write_text(json.dumps(config))
    made = root(agent, "acl auth-method create -type=jwt -name=m -description=d -max-token-ttl=90s -config=@key.pem")
    assert made.startswith(
        "Name:          m\nType:          jwt\nDescription:   d\nMaxTokenTTL:   1m30s\nConfig:\n{\n  "
    )
    assert root(agent, "acl auth-method read -name=m") == made
    # A change leaves what it does not name.
    changed = json.loads(
        root(agent, "acl auth-method update -format=json -name=m -display-name=My -token-locality=global")
    )
    assert changed["Config"] == config and changed["MaxTokenTTL"] == "1m30s" and changed["TokenLocality"] == "global"
    other = json.dumps({**config, "BoundIssuer": "corp2"})
    replaced = json.loads(root(agent, "acl auth-method update -format=json -name=m -no-merge -config=-", other))
    assert replaced["Config"]["BoundIssuer"] == "corp2" and "DisplayName" not in replaced
    assert root(agent, "acl auth-method list") == "m:\n   Type:         jwt\n   Description:  \n\n"

    rule = root(agent, "acl binding-rule create -method=m -bind-name=svc-${value.name} -selector=value.name==x")
    found = re.fullmatch(
        rf"ID:           ({UUID})\nAuthMethod:   m\nDescription:  \nBindType:     service\n"
        r"BindName:     svc-\${value.name}\nSelector:     value.name==x\n\n",
        rule,
    )
    assert found is not None and root(agent, f"acl binding-rule read -id={found[1][:8]}") == rule
    assert "BindType:     role\n" in root(agent, f"acl binding-rule update -id={found[1]} -bind-type=role -bind-name=r")
    whole = root(agent, f"acl binding-rule update -id={found[1]} -no-merge -bind-type=node -bind-name=n -description=d")
    assert "Description:  d\nBindType:     node\nBindName:     n\nSelector:     \n" in whole
    assert f"{found[1]}:\n   AuthMethod:   m\n" in root(agent, "acl binding-rule list -method=m")
    assert root(agent, "acl binding-rule list -method=none") == "\n"
    for line, reason in (
        ("acl auth-method create -name=x", "Missing required '-type' flag"),
        ("acl auth-method create -type=jwt", "Missing required '-name' flag"),
        ("acl auth-method create -type=none -name=x", "Failed to create new auth method"),
        ("acl auth-method create -type=jwt -name=x -config=[]", "it must be an object"),
        ("acl auth-method create -type=jwt -name=x -config={", "Error parsing JSON for auth method config"),
        ("acl auth-method create -type=jwt -name=x -config=@none", "Error loading config: open none: no such file"),
        ("acl auth-method create -type=jwt -name=x -kubernetes-host=h", "are for -type=kubernetes"),
        ("acl auth-method create -type=kubernetes -name=x", "Missing required '-kubernetes-host' flag"),
        ("acl auth-method create -type=kubernetes -name=x -config={} -kubernetes-host=h", "together with -config"),
        ("acl auth-method read -name=none", 'There is no auth method with name "none"'),
        ("acl auth-method update -name=none", 'There is no auth method with name "none"'),
        ("acl auth-method update -name=m -no-merge", "Error updating auth method"),
        ("acl auth-method delete", "Missing required '-name' flag"),
        ("acl binding-rule create -method=m", "Missing required '-bind-name' flag"),
        ("acl binding-rule create -method=none -bind-name=x", "Failed to create new binding rule"),
        ("acl binding-rule read", "Missing required '-id' flag"),
        ("acl binding-rule read -id=ffff", "No such binding rule ID with prefix"),
        (f"acl binding-rule read -id={UNKNOWN}", "There is no binding rule with ID"),
        (f"acl binding-rule update -id={found[1]} -no-merge", "Missing required '-bind-type' flag"),
    ):
        refused(agent, line, reason)
    assert (
        root(agent, f"acl binding-rule delete -id={found[1][:8]}")
        == f'Binding rule "{found[1]}" deleted successfully\n'
    )
    assert root(agent, "acl auth-method delete -name=m") == 'Auth method "m" deleted successfully\n'


def _public_key() -> str:
    from tests.login.tokens import pem, rsa_key

    return pem(rsa_key())


def test_completion_knows_the_names(agent: Agent) -> None:
    root(agent, "acl policy create -name=completed-policy")
    for line, offered in (
        ("lictor acl token create -policy-name=comp", "-policy-name=completed-policy\n"),
        ("lictor acl policy read -name comp", "completed-policy\n"),
        ("lictor acl auth-method create -type=k", "-type=kubernetes\n"),
        ("lictor acl token update -id=00000000-", "-id=00000000-0000-0000-0000-000000000002\n"),
    ):
        # The agent has little time to answer; on a busy machine it may need more than one chance.
        agent.until(lambda line=line, offered=offered: _completed(agent, line) == offered)
    # Without a token there is nothing to offer, and no complaint.
    assert lictor(agent, COMP_LINE="lictor acl policy read -name=comp").stdout == ""


def _completed(agent: Agent, line: str) -> str:
    return lictor(agent, COMP_LINE=line, CONSUL_HTTP_TOKEN=ROOT).stdout


def test_old_rules_in_todays_language(agent: Agent) -> None:
    assert root(agent, "acl translate-rules -", 'service "" { policy = "write" }') == (
        'service_prefix "" {\n  policy = "write"\n}\n'
    )
    assert root(agent, "acl translate-rules @rules.hcl") == FILES["rules.hcl"]
    refused(agent, "acl translate-rules", "translate-rules takes the rules")
    refused(agent, "acl translate-rules key{", "Error translating rules")
    refused(agent, "acl translate-rules -token-accessor x", "keep no tokens of the legacy ACL system")


@pytest.mark.timeout(300)
def test_the_first_token(tmp_path: Path) -> None:
    with denying(tmp_path / "agent", {}) as running:
        running.until(lambda: running.request("GET", f"/v1/acl/token/self?token={UNKNOWN}")[0] == 403)
        secret = "55555555-0000-4000-8000-000000000001"
        for words, stdin, reason in (
            (["missing"], "", "no such file"),
            (["-"], "\n", "- is empty"),
            (["-"], "no-uuid\n", "SecretID is not a valid UUID"),
            (["-"], "00000000-0000-0000-0000-000000000005", "SecretID is reserved"),
            (["a", "b"], "", "Too many arguments"),
            (["-format=xml"], "", "Invalid format"),
        ):
            done = lictor(running, "acl", "bootstrap", *words, stdin=stdin)
            assert done.returncode == 1 and reason in done.stderr and not done.stdout, (words, done.stderr)
        made = running.until(lambda: lictor(running, "acl", "bootstrap", "-", stdin=f"{secret}\n").stdout)
        assert re.fullmatch(
            rf"AccessorID:       {UUID}\nSecretID:         {secret}\nDescription:      Bootstrap Token "
            rf"\(Global Management\)\nLocal:            false\nCreate Time:      {TIME}\nPolicies:\n"
            r"   00000000-0000-0000-0000-000000000001 - global-management\n\n",
            made,
        )
        again = lictor(running, "acl", "bootstrap")
        assert again.returncode == 1 and re.search(r"Permission denied: .*reset index: \d+\)", again.stderr)
        assert lictor(running, "acl", "token", "read", "-self", f"-token={secret}").stdout == made
