"""Rules of before Consul 1.4 in today's language; the first three are recorded (cli/acl-login, acl/legacy)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.acl.legacy_rules import translate_rules
from model.config_json import HclError
from model.hcl import parse_hcl


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('key "" { policy = "read" }', 'key_prefix "" {\n  policy = "read"\n}'),
        ('agent "" {\n policy = "read"\n}\n', 'agent_prefix "" {\n  policy = "read"\n}'),
        (
            'service "" { policy = "write" }\n# note\nkey "foo/" { policy = "read" }\n',
            'service_prefix "" {\n  policy = "write"\n}\n\n# note\nkey_prefix "foo/" {\n  policy = "read"\n}',
        ),
        ('operator = "read"\nkeyring="write"', 'operator = "read"\nkeyring  = "write"'),
        ('event "a" { policy = "deny" } // why', 'event_prefix "a" {\n  policy = "deny"\n}\n\n// why'),
        ('node_prefix "a" { policy = "deny" }', 'node_prefix "a" {\n  policy = "deny"\n}'),
        ('"query" "q" { policy = "read" }', 'query_prefix "q" {\n  policy = "read"\n}'),
        (
            'service "a" {\n policy = "read"\n intentions = "write"\n}',
            'service_prefix "a" {\n  policy     = "read"\n  intentions = "write"\n}',
        ),
        ('key "a" { x = [1, "b"] }', 'key_prefix "a" {\n  x = [1, "b"]\n}'),
        ('key "{ key \\"" { policy = "read" }', 'key_prefix "{ key \\"" {\n  policy = "read"\n}'),
        ('session "s" {}', 'session_prefix "s" {}'),
        (
            '{"key": {"a": {"policy": "read"}}}',
            '{\n  "key_prefix": {\n    "a": {\n      "policy": "read"\n    }\n  }\n}',
        ),
        ("", ""),
    ],
)
def test_names_become_beginnings(old: str, new: str) -> None:
    assert translate_rules(old) == new


@pytest.mark.parametrize("text", ["junk {", "key", 'key "a" { policy = }', "}", '{"key": }'])
def test_what_is_no_hcl_is_refused(text: str) -> None:
    with pytest.raises(HclError):
        translate_rules(text)


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\\\n$%', exclude_categories=("Cc",)), max_size=8)
_BLOCKS = st.lists(
    st.tuples(
        st.sampled_from(["key", "service", "node", "agent", "other"]), _NAMES, st.sampled_from(["read", "write"])
    ),
    max_size=6,
)


@given(_BLOCKS, st.sampled_from([" ", "\n", "\n# ein } Wort\n", " /* { */ "]))
def test_the_meaning_stays(blocks: list[tuple[str, str, str]], between: str) -> None:
    old = between.join(f'{kind} "{name}" {{ policy = "{level}" }}' for kind, name, level in blocks)
    new = "\n".join(
        f'{kind if kind == "other" else kind + "_prefix"} "{name}" {{ policy = "{level}" }}'
        for kind, name, level in blocks
    )
    assert parse_hcl(translate_rules(old)) == parse_hcl(new)


@given(st.text(max_size=60) | st.text('key"{}=[]#/*,<\n a1$\\', max_size=60))
def test_whatever_comes_is_translated_or_refused(text: str) -> None:
    try:
        parse_hcl(text)
    except HclError:
        with pytest.raises(HclError):
            translate_rules(text)
        return
    parse_hcl(translate_rules(text))
