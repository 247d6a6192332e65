"""How objects of the ACL system look, where a real agent's answers do not show it."""

import json

import pytest

from agent.cli import acl_shown as shown
from agent.cli.acl_common import with_links, with_nodes, with_services
from agent.cli.acl_expanded import expanded_lines

TOKEN = {
    "SecretID": "s" * 36, "AccessorID": "a" * 36, "Description": "<b> & \u2028", "Local": True, "Legacy": False,
    "CreateTime": "2026-11-23T20:03:02.555647169Z", "Hash": "YWJj", "CreateIndex": 5, "ModifyIndex": 7,
    "AuthMethod": "jwt1", "Policies": [{"ID": "p" * 36, "Name": "p1"}], "Roles": [{"ID": "r" * 36, "Name": "r1"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("2026-11-23T20:03:02.555647169Z", "2026-11-23 20:03:02.555647169 +0000 UTC"),
        ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00 +0000 UTC"),
        ("2026-11-23T20:03:02-05:30", "2026-11-23 20:03:02 -0530 -0530"),
        ("soon", "soon"),
        ("", ""),
    ],
)
def test_times(text: str, seen: str) -> None:
    assert shown.shown_time(text) == seen


def test_json_has_the_fields_in_gos_order_and_escapes() -> None:
    text = shown.as_json(TOKEN, shown.TOKEN)
    names = [line.split('"')[1] for line in text.splitlines() if line.startswith('    "')]
    assert names == [
        "CreateIndex", "ModifyIndex", "AccessorID", "SecretID", "Description", "Policies", "Roles", "Local",
        "AuthMethod", "CreateTime", "Hash",
    ]  # fmt: skip
    assert r'"\u003cb\u003e \u0026 \u2028"' in text and json.loads(text)["Description"] == TOKEN["Description"]
    assert shown.as_json([], shown.ROLE) == "[]"
    # What an agent leaves out is there all the same, as far as Consul shows it.
    assert json.loads(shown.as_json({"ID": "x"}, shown.POLICY_IN_LIST)) == {
        "ID": "x", "Name": "", "Description": "", "Datacenters": None, "Hash": None, "CreateIndex": 0, "ModifyIndex": 0,
    }  # fmt: skip


def test_a_token_for_people() -> None:
    row = {**TOKEN, "ExpirationTime": "2026-11-23T21:00:00Z", "NodeIdentities": [{"NodeName": "n", "Datacenter": "d"}]}
    del row["Legacy"]
    assert shown.token_lines(row, meta=True) == [
        f"AccessorID:       {'a' * 36}",
        f"SecretID:         {'s' * 36}",
        "Description:      <b> & \u2028",
        "Local:            true",
        "Auth Method:      jwt1",
        "Create Time:      2026-11-23 20:03:02.555647169 +0000 UTC",
        "Expiration Time:  2026-11-23 21:00:00 +0000 UTC",
        "Hash:             616263",
        "Create Index:     5",
        "Modify Index:     7",
        "Policies:",
        f"   {'p' * 36} - p1",
        "Roles:",
        f"   {'r' * 36} - r1",
        "Node Identities:",
        "   n (Datacenter: d)",
        "",
    ]


def test_an_expanded_token_shows_each_rule_where_it_comes_from() -> None:
    policy = {"ID": "p" * 36, "Name": "p1", "Description": "first", "Rules": '\nkey "a" {\n  policy = "read"\n}\n'}
    synthetic = {
        "ID": "0a73", "Name": "synthetic-policy-0a73", "Rules": 'service "web" {}',
        "Description": 'synthetic policy for service identity "web"',
    }  # fmt: skip
    role = {"ID": "r" * 36, "Name": "r1", "Description": "", "ServiceIdentities": [{"ServiceName": "web"}]}
    row = {**TOKEN, "ExpandedPolicies": [policy, synthetic], "ExpandedRoles": [role], "AgentACLDownPolicy": "deny"}
    text = "\n".join(expanded_lines(row))
    assert (
        f"Policies:\n\tPolicy Name: p1\n\t\tID: {'p' * 36}\n\t\tDescription: first\n\t\tRules:\n"
        '\t\t\tkey "a" {\n\t\t\t  policy = "read"\n\t\t\t}\n\nRoles:\n\tRole Name: r1\n' in text
    )
    assert (
        "\t\tService Identities:\n\t\t\tName: web (Datacenters: all)\n\t\t\t\tDescription: synthetic policy for "
        'service identity "web"\n\t\t\t\tRules:\n\t\t\t\t\tservice "web" {}\n' in text
    )
    assert "Down Policy: deny\n" in text


def test_what_a_change_adds() -> None:
    there = [{"ID": "1", "Name": "a"}, {"ID": "2", "Name": "b"}]
    assert with_links(there, [{"Name": "b"}, {"ID": "1"}, {"Name": "c"}]) == [*there, {"Name": "c"}]
    assert with_links(None, []) == []
    web, web_here = {"ServiceName": "web"}, {"ServiceName": "web", "Datacenters": ["dc1"]}
    assert with_services([web, {"ServiceName": "db"}], [web_here]) == [web_here, {"ServiceName": "db"}]
    node, elsewhere = {"NodeName": "n", "Datacenter": "dc1"}, {"NodeName": "n", "Datacenter": "dc2"}
    assert with_nodes([node], [node, elsewhere]) == [node, elsewhere]
