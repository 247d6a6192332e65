"""`acl bootstrap`, `acl set-agent-token` and `acl translate-rules`."""

from typing import Any

from agent.cli.acl_common import check_format, show, text_of
from agent.cli.acl_shown import TOKEN, token_lines
from agent.cli.client import Api, Problem
from agent.cli.flags import Flags, fail, too_many

AGENT_TOKENS = ("default", "agent", "recovery", "replication")
_PATHS = {"recovery": "agent_recovery"}


def bootstrap(flags: Flags) -> int:
    """Make the first token."""
    check_format(flags)  # Before, so that the token is not lost.
    problem = too_many(flags, 1)
    if problem:
        return fail(problem)
    body: dict[str, Any] | None = None
    if flags.arguments:
        # Not the secret itself: a command line is there for all to see.
        source = flags.arguments[0]
        secret = text_of(source if source == "-" else f"@{source}", "the token's secret").strip()
        if not secret:
            return fail(f"Error loading the token's secret: {source} is empty")
        body = {"BootstrapSecret": secret}
    return show(flags, Api(flags).put("/v1/acl/bootstrap", body), TOKEN, token_lines)


def set_agent_token(flags: Flags) -> int:
    """Give the agent a token for one of its tasks."""
    if len(flags.arguments) != 2:
        return fail(f"Error: set-agent-token takes a type and a token (got {len(flags.arguments)} arguments)")
    kind, secret = flags.arguments
    if kind not in AGENT_TOKENS:
        return fail(f"Error: unknown token type {kind!r}; known are {', '.join(AGENT_TOKENS)}")
    Api(flags).put(f"/v1/agent/token/{_PATHS.get(kind, kind)}", {"Token": secret})
    print(f'ACL token "{kind}" set successfully')
    return 0


def translate_rules(flags: Flags) -> int:
    """Rules of the legacy ACL system in today's language."""
    if len(flags.arguments) != 1:
        return fail(f"Error: translate-rules takes the rules (got {len(flags.arguments)} arguments)")
    if flags["token-accessor"] or flags["token-secret"]:
        raise Problem("Error translating rules: Consul 1.11 and later keep no tokens of the legacy ACL system")
    from model.acl.legacy_rules import translate_rules as translated
    from model.config_json import HclError

    try:
        print(translated(text_of(flags.arguments[0], "rules")))
    except HclError as error:
        return fail(f"Error translating rules: {error}")
    return 0
