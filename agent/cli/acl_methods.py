"""`acl auth-method` and `acl binding-rule`."""

import json

from agent.cli.acl_common import full_id, got, no_arguments, required, show, text_of
from agent.cli.acl_shown import (
    METHOD,
    METHOD_IN_LIST,
    RULE,
    Row,
    method_lines,
    methods_lines,
    rule_lines,
    rules_lines,
)
from agent.cli.client import Api, Problem
from agent.cli.flags import Flags
from model.durations import format_duration

_KUBERNETES = {
    "Host": "kubernetes-host",
    "CACert": "kubernetes-ca-cert",
    "ServiceAccountJWT": "kubernetes-service-account-jwt",
}
"""Keys of the configuration of methods of type kubernetes that have flags."""


# Auth methods


def _given(flags: Flags) -> Row:
    """The fields of an auth method that flags name, but its configuration."""
    found = {"Description": flags["description"], "DisplayName": flags["display-name"]}
    found["TokenLocality"] = flags["token-locality"]
    found["MaxTokenTTL"] = format_duration(flags["max-token-ttl"]) if flags["max-token-ttl"] else ""
    return {key: value for key, value in found.items() if value}


def _config(flags: Flags) -> Row:
    """The configuration that -config has. Raises Problem."""
    try:
        found = json.loads(text_of(flags["config"], "config"))
    except (ValueError, RecursionError) as error:
        raise Problem(f"Error parsing JSON for auth method config: {error}") from None
    if not isinstance(found, dict):
        raise Problem("Error parsing JSON for auth method config: it must be an object")
    return found


def _kubernetes(flags: Flags) -> Row:
    """What the -kubernetes flags say. Raises Problem."""
    found = {key: text_of(flags[flag], f"-{flag}") for key, flag in _KUBERNETES.items() if flags[flag]}
    if found and flags["config"]:
        raise Problem("Cannot use the -kubernetes flags together with -config")
    return found


def _new_config(flags: Flags, kind: str) -> Row:
    """The whole configuration of a method. Raises Problem."""
    kubernetes = _kubernetes(flags)
    if flags["config"]:
        return _config(flags)
    if kind == "kubernetes":
        required(flags, *_KUBERNETES.values())
    elif kubernetes:
        raise Problem("The -kubernetes flags are for -type=kubernetes")
    return kubernetes


def create_method(flags: Flags) -> int:
    """Make an auth method."""
    no_arguments(flags)
    required(flags, "type", "name")
    body = {"Name": flags["name"], "Type": flags["type"], **_given(flags), "Config": _new_config(flags, flags["type"])}
    return show(flags, Api(flags).put("/v1/acl/auth-method", body), METHOD, method_lines)


def _method(api: Api, name: str) -> Row:
    return got(api, f"/v1/acl/auth-method/{name}", "auth method", f'name "{name}"')


def read_method(flags: Flags) -> int:
    """Show an auth method."""
    no_arguments(flags)
    required(flags, "name")
    return show(flags, _method(Api(flags), flags["name"]), METHOD, method_lines)


def update_method(flags: Flags) -> int:
    """Change an auth method: what is given, or with -no-merge all of it."""
    no_arguments(flags)
    required(flags, "name")
    api = Api(flags)
    there = _method(api, flags["name"])
    body: Row = {"Name": there["Name"], "Type": there["Type"]}
    if flags["no-merge"]:
        body["Config"] = _new_config(flags, there["Type"])
    else:
        names = ("Description", "DisplayName", "TokenLocality", "MaxTokenTTL")
        body |= {key: there[key] for key in names if there.get(key)}
        kubernetes = _kubernetes(flags)
        if kubernetes and there["Type"] != "kubernetes":
            raise Problem("The -kubernetes flags are for -type=kubernetes")
        body["Config"] = _config(flags) if flags["config"] else {**(there.get("Config") or {}), **kubernetes}
    body |= _given(flags)
    return show(flags, api.put(f"/v1/acl/auth-method/{there['Name']}", body), METHOD, method_lines)


def list_methods(flags: Flags) -> int:
    """List the auth methods."""
    no_arguments(flags)
    return show(flags, Api(flags).get("/v1/acl/auth-methods") or [], METHOD_IN_LIST, methods_lines)


def delete_method(flags: Flags) -> int:
    """Remove an auth method, its binding rules, and the tokens that logins through it made."""
    no_arguments(flags)
    required(flags, "name")
    Api(flags).call("DELETE", f"/v1/acl/auth-method/{flags['name']}")
    print(f'Auth method "{flags["name"]}" deleted successfully')
    return 0


# Binding rules

_FLAGS = {"Description": "description", "BindType": "bind-type", "BindName": "bind-name", "Selector": "selector"}


def create_rule(flags: Flags) -> int:
    """Make a binding rule."""
    no_arguments(flags)
    required(flags, "method", "bind-type", "bind-name")
    body = {"AuthMethod": flags["method"], **{key: flags[flag] for key, flag in _FLAGS.items()}}
    return show(flags, Api(flags).put("/v1/acl/binding-rule", body), RULE, rule_lines)


def _rule(flags: Flags, api: Api) -> Row:
    required(flags, "id")
    rule_id = full_id(api, "binding-rules", flags["id"])
    return got(api, f"/v1/acl/binding-rule/{rule_id}", "binding rule", f"ID {rule_id}")


def read_rule(flags: Flags) -> int:
    """Show a binding rule."""
    no_arguments(flags)
    return show(flags, _rule(flags, Api(flags)), RULE, rule_lines)


def update_rule(flags: Flags) -> int:
    """Change a binding rule: what is given, or with -no-merge all of it."""
    no_arguments(flags)
    required(flags, "id")
    if flags["no-merge"]:
        required(flags, "bind-type", "bind-name")
    api = Api(flags)
    there = _rule(flags, api)
    kept = {} if flags["no-merge"] else {key: there.get(key, "") for key in _FLAGS}
    given = {key: flags[flag] for key, flag in _FLAGS.items() if flags[flag]}
    body = {"ID": there["ID"], "AuthMethod": there["AuthMethod"], **kept, **given}
    return show(flags, api.put(f"/v1/acl/binding-rule/{there['ID']}", body), RULE, rule_lines)


def list_rules(flags: Flags) -> int:
    """List the binding rules, all or those of one method."""
    no_arguments(flags)
    rows = Api(flags).get("/v1/acl/binding-rules", authmethod=flags["method"]) or []
    return show(flags, rows, RULE, rules_lines)


def delete_rule(flags: Flags) -> int:
    """Remove a binding rule."""
    no_arguments(flags)
    required(flags, "id")
    api = Api(flags)
    found = full_id(api, "binding-rules", flags["id"])
    api.call("DELETE", f"/v1/acl/binding-rule/{found}")
    print(f'Binding rule "{found}" deleted successfully')
    return 0
