"""The table of commands about tokens and their rights: `acl …`."""

from agent.cli.command import BOTH, FORMAT, TENANT, Command, Flag

F = Flag

_META = F("meta", "Show indexes and hashes, too.", "bool", False)
_SHOWN = (FORMAT, _META)
_DESCRIPTION = F("description", "What it is for.")
_RULES = "The rules, in HCL or JSON; @FILE reads them from a file, - from standard input."
_VALID = F("valid-datacenter", "A datacenter in which it holds; in all of them without this flag.", "list")
_NO_MERGE = F("no-merge", "Replace all of it with what is given, instead of adding to what is there.", "bool", False)
_GRANTS = (
    F("policy-id", "ID of a policy, or its beginning.", "list", names="policy-id"),
    F("policy-name", "Name of a policy.", "list", names="policy"),
    F(
        "service-identity",
        "SERVICE or SERVICE:DC1,DC2: the rights of a service and its proxy, in all datacenters or these.",
        "list",
    ),
    F("node-identity", "NODE:DATACENTER: the rights of a node's agent.", "list"),
)
_TOKEN_GRANTS = (
    *_GRANTS,
    F("role-id", "ID of a role, or its beginning.", "list", names="role-id"),
    F("role-name", "Name of a role.", "list", names="role"),
)
_BIND_NAME = F("bind-name", "Name of the service, node or role; ${…} stands for what the login says.")
_SELECTOR = F("selector", "The logins that it is for, as a filter of what the auth method says of them.")
_METHOD = (
    F(
        "config",
        "The configuration of the method's type, as JSON; @FILE reads it from a file, - from standard input.",
        names="data",
    ),
    _DESCRIPTION,
    F("display-name", "A name for people."),
    F("kubernetes-ca-cert", "Certificate of the CA of the Kubernetes API, as PEM; or @FILE.", names="data"),
    F("kubernetes-host", "Address of the Kubernetes API."),
    F("kubernetes-service-account-jwt", "A service account's token, with which logins are asked about; or @FILE."),
    F("max-token-ttl", "For how long the tokens are valid that logins make.", "duration", None),
    F("token-locality", "Whether these tokens are local or global.", names="|local|global|"),
)


def _of_policy(text: str) -> tuple[Flag, ...]:
    return (F("id", f"ID of the policy{text}, or its beginning.", names="policy-id"),)


def _of_token() -> tuple[Flag, ...]:
    return (
        F("accessor-id", 'Accessor ID of the token, or its beginning, or "anonymous".', names="accessor-id"),
        F("id", "The same as -accessor-id.", names="accessor-id"),
    )


GROUPS = {
    "acl": (
        "Works with access rights",
        """
Works with tokens, the policies and roles that say what may be done with them, and logins. docs/acl.md shows how ACLs
are turned on.

    $ lictor acl bootstrap
    $ lictor acl policy create -name=app -rules='key_prefix "app/" { policy = "read" }'
    $ lictor acl token create -policy-name=app
""",
    ),
    "acl auth-method": (
        "Works with auth methods",
        """
An auth method lets those log in who can show a credential of another system. Binding rules say what they get.

    $ lictor acl auth-method create -type=jwt -name=ci -config=@ci.json
    $ lictor acl auth-method list
""",
    ),
    "acl binding-rule": (
        "Works with binding rules",
        """
A binding rule says which service, node or role a login through an auth method becomes.

    $ lictor acl binding-rule create -method=ci -bind-type=role -bind-name=deployer -selector='team==ops'
    $ lictor acl binding-rule list
""",
    ),
    "acl policy": (
        "Works with policies",
        """
A policy is a set of rules with a name.

    $ lictor acl policy create -name=app -rules=@app.hcl
    $ lictor acl policy read -name=app
""",
    ),
    "acl role": (
        "Works with roles",
        """
A role is a set of policies and identities with a name.

    $ lictor acl role create -name=deployer -policy-name=app -service-identity=web
    $ lictor acl role list
""",
    ),
    "acl token": (
        "Works with tokens",
        """
A token is a secret, and what whoever has it may do.

    $ lictor acl token create -description='for web' -service-identity=web
    $ lictor acl token read -self
""",
    ),
}

COMMANDS: dict[str, Command] = {
    "acl auth-method create": Command(
        "acl_methods",
        "create_method",
        "Makes an auth method",
        (
            *_METHOD,
            F("name", "Its name; it must be given."),
            F("type", "Its type; it must be given.", names="|jwt|kubernetes|aws-iam|"),
            *_SHOWN,
        ),
        """
Makes an auth method.

    $ lictor acl auth-method create -type=jwt -name=ci -max-token-ttl=10m -config=@ci.json
""",
        http=TENANT,
        failed="Failed to create new auth method",
    ),
    "acl auth-method delete": Command(
        "acl_methods",
        "delete_method",
        "Removes an auth method",
        (F("name", "Its name; it must be given.", names="auth-method"),),
        "Removes an auth method, its binding rules, and the tokens that logins through it made.",
        http=TENANT,
        failed="Error deleting auth method",
    ),
    "acl auth-method list": Command(
        "acl_methods",
        "list_methods",
        "Lists the auth methods",
        _SHOWN,
        http=TENANT,
        failed="Failed to retrieve the auth method list",
    ),
    "acl auth-method read": Command(
        "acl_methods",
        "read_method",
        "Shows an auth method",
        (F("name", "Its name; it must be given.", names="auth-method"), *_SHOWN),
        http=TENANT,
        failed="Error reading auth method",
    ),
    "acl auth-method update": Command(
        "acl_methods",
        "update_method",
        "Changes an auth method",
        (*_METHOD, F("name", "Its name; it must be given.", names="auth-method"), _NO_MERGE, *_SHOWN),
        "Changes what is given and leaves the rest; with -no-merge, what is not given is emptied.",
        http=TENANT,
        failed="Error updating auth method",
    ),
    "acl binding-rule create": Command(
        "acl_methods",
        "create_rule",
        "Makes a binding rule",
        (
            _BIND_NAME,
            F("bind-type", "What a login becomes.", default="service", names="|service|node|role|"),
            _DESCRIPTION,
            F("method", "Name of the auth method; it must be given.", names="auth-method"),
            _SELECTOR,
            *_SHOWN,
        ),
        """
Makes a binding rule.

    $ lictor acl binding-rule create -method=ci -bind-name='ci-${value.project}'
""",
        http=TENANT,
        failed="Failed to create new binding rule",
    ),
    "acl binding-rule delete": Command(
        "acl_methods",
        "delete_rule",
        "Removes a binding rule",
        (F("id", "Its ID, or the beginning of it.", names="rule-id"),),
        http=TENANT,
        failed="Error deleting binding rule",
    ),
    "acl binding-rule list": Command(
        "acl_methods",
        "list_rules",
        "Lists the binding rules",
        (F("method", "Only those of this auth method.", names="auth-method"), *_SHOWN),
        http=TENANT,
        failed="Failed to retrieve the binding rule list",
    ),
    "acl binding-rule read": Command(
        "acl_methods",
        "read_rule",
        "Shows a binding rule",
        (F("id", "Its ID, or the beginning of it.", names="rule-id"), *_SHOWN),
        http=TENANT,
        failed="Error reading binding rule",
    ),
    "acl binding-rule update": Command(
        "acl_methods",
        "update_rule",
        "Changes a binding rule",
        (
            _BIND_NAME,
            F("bind-type", "What a login becomes.", names="|service|node|role|"),
            _DESCRIPTION,
            F("id", "Its ID, or the beginning of it.", names="rule-id"),
            _NO_MERGE,
            _SELECTOR,
            *_SHOWN,
        ),
        "Changes what is given and leaves the rest; with -no-merge, what is not given is emptied.",
        http=TENANT,
        failed="Error updating binding rule",
    ),
    "acl bootstrap": Command(
        "acl",
        "bootstrap",
        "Makes the first token",
        (FORMAT,),
        """
Makes the first token, which may do everything. It can be made once; when it is lost, the servers say after a reset
what the index is that allows another.

The secret is made by the servers, or read from FILE (- for standard input), where it must be a UUID.

    $ lictor acl bootstrap
""",
        "[FILE]",
        BOTH,
        "Failed ACL bootstrapping",
        ("file",),
    ),
    "acl policy create": Command(
        "acl_policies",
        "create",
        "Makes a policy",
        (_DESCRIPTION, F("name", "Its name; it must be given."), F("rules", _RULES, names="data"), _VALID, *_SHOWN),
        """
Makes a policy.

    $ lictor acl policy create -name=app -rules='key_prefix "app/" { policy = "write" }'
    $ lictor acl policy create -name=app -rules=@app.hcl -valid-datacenter=dc1
""",
        http=TENANT,
        failed="Failed to create new policy",
    ),
    "acl policy delete": Command(
        "acl_policies",
        "delete",
        "Removes a policy",
        (*_of_policy(""), F("name", "Name of the policy.", names="policy")),
        "Removes a policy, from the roles and tokens that have it, too.",
        http=TENANT,
        failed="Error deleting policy",
    ),
    "acl policy list": Command(
        "acl_policies",
        "list_all",
        "Lists the policies",
        _SHOWN,
        http=TENANT,
        failed="Failed to retrieve the policy list",
    ),
    "acl policy read": Command(
        "acl_policies",
        "read",
        "Shows a policy",
        (*_of_policy(""), F("name", "Name of the policy.", names="policy"), *_SHOWN),
        http=TENANT,
        failed="Error reading policy",
    ),
    "acl policy update": Command(
        "acl_policies",
        "update",
        "Changes a policy",
        (
            F("description", "What it is for.", default=None),
            *_of_policy(" to change"),
            F("name", "Name of the policy; together with -id, its new name.", names="policy"),
            _NO_MERGE,
            F("rules", _RULES, default=None, names="data"),
            _VALID,
            *_SHOWN,
        ),
        """
Changes what is given and leaves the rest; with -no-merge, what is not given is emptied.

    $ lictor acl policy update -name=app -rules=@app.hcl
    $ lictor acl policy update -id=35b8 -name=web
""",
        http=TENANT,
        failed="Error updating policy",
    ),
    "acl role create": Command(
        "acl_roles",
        "create",
        "Makes a role",
        (_DESCRIPTION, F("name", "Its name; it must be given."), *_GRANTS, *_SHOWN),
        """
Makes a role, of at least one policy or identity.

    $ lictor acl role create -name=deployer -policy-name=app -service-identity=web:dc1
""",
        http=TENANT,
        failed="Failed to create new role",
    ),
    "acl role delete": Command(
        "acl_roles",
        "delete",
        "Removes a role",
        (F("id", "ID of the role, or its beginning.", names="role-id"), F("name", "Name of the role.", names="role")),
        "Removes a role, from the tokens that have it, too.",
        http=TENANT,
        failed="Error deleting role",
    ),
    "acl role list": Command(
        "acl_roles",
        "list_all",
        "Lists the roles",
        _SHOWN,
        http=TENANT,
        failed="Failed to retrieve the role list",
    ),
    "acl role read": Command(
        "acl_roles",
        "read",
        "Shows a role",
        (
            F("id", "ID of the role, or its beginning.", names="role-id"),
            F("name", "Name of the role.", names="role"),
            *_SHOWN,
        ),
        http=TENANT,
        failed="Error reading role",
    ),
    "acl role update": Command(
        "acl_roles",
        "update",
        "Changes a role",
        (
            _DESCRIPTION,
            F("id", "ID of the role, or its beginning; it must be given.", names="role-id"),
            F("name", "Its new name."),
            _NO_MERGE,
            *_GRANTS,
            *_SHOWN,
        ),
        "Adds the given policies and identities to the role; with -no-merge, what is not given is taken away.",
        http=TENANT,
        failed="Error updating role",
    ),
    "acl set-agent-token": Command(
        "acl",
        "set_agent_token",
        "Gives the agent a token for one of its tasks",
        (),
        """
Gives the running agent the token that it uses for one of its tasks: `default` for requests without a token, `agent` for
what it does by itself, `recovery` to reach its own API when no server can be asked, `replication` to copy tokens from
the primary datacenter. The agent keeps it over a restart with `acl.enable_token_persistence`.

    $ lictor acl set-agent-token default 3d2f…
""",
        "TYPE TOKEN",
        BOTH,
        "Failed to set token",
        ("|default|agent|recovery|replication|",),
    ),
    "acl token clone": Command(
        "acl_tokens",
        "clone",
        "Makes a token with the rights of another",
        (_DESCRIPTION, *_of_token(), FORMAT),
        """
Makes a token with the rights of another.

    $ lictor acl token clone -accessor-id=59f8 -description='for the second team'
""",
        http=TENANT,
        failed="Error cloning token",
    ),
    "acl token create": Command(
        "acl_tokens",
        "create",
        "Makes a token",
        (
            F("accessor", "Its accessor ID, a UUID, instead of one that the servers make."),
            _DESCRIPTION,
            F("expires-ttl", "For how long it is valid; for ever without this flag.", "duration", None),
            F("local", "Make it for this datacenter only.", "bool", False),
            *_TOKEN_GRANTS,
            F("secret", "Its secret, a UUID, instead of one that the servers make. Others may see the command line."),
            *_SHOWN,
        ),
        """
Makes a token, with at least one policy, role or identity.

    $ lictor acl token create -description='for web' -service-identity=web
    $ lictor acl token create -policy-name=app -expires-ttl=24h -local
""",
        http=TENANT,
        failed="Failed to create new token",
    ),
    "acl token delete": Command(
        "acl_tokens",
        "delete",
        "Removes a token",
        _of_token(),
        http=TENANT,
        failed="Error deleting token",
    ),
    "acl token list": Command(
        "acl_tokens",
        "list_all",
        "Lists the tokens",
        _SHOWN,
        http=TENANT,
        failed="Failed to retrieve the token list",
    ),
    "acl token read": Command(
        "acl_tokens",
        "read",
        "Shows a token",
        (
            *_of_token(),
            F("expanded", "Show its policies and roles themselves, and what holds beside them.", "bool", False),
            F("self", "The token with which this is asked.", "bool", False),
            *_SHOWN,
        ),
        """
Shows a token.

    $ lictor acl token read -self
    $ lictor acl token read -accessor-id=986 -expanded
""",
        http=TENANT,
        failed="Error reading token",
    ),
    "acl token update": Command(
        "acl_tokens",
        "update",
        "Changes a token",
        (
            *_of_token(),
            _DESCRIPTION,
            F("merge-node-identities", "Keep the node identities that it has.", "bool", False),
            F("merge-policies", "Keep the policies that it has.", "bool", False),
            F("merge-roles", "Keep the roles that it has.", "bool", False),
            F("merge-service-identities", "Keep the service identities that it has.", "bool", False),
            *_TOKEN_GRANTS,
            *_SHOWN,
        ),
        """
Gives a token the policies, roles and identities of this command; those that it has before are taken away, as far as
no -merge flag keeps them. A description that is not given stays.

    $ lictor acl token update -accessor-id=anonymous -policy-name=dns -merge-policies
""",
        http=TENANT,
        failed="Error updating token",
    ),
    "acl translate-rules": Command(
        "acl",
        "translate_rules",
        "Says rules of before Consul 1.4 in today's language",
        (
            F(
                "token-accessor",
                "The argument is the accessor ID of a legacy token. There are none any more.",
                "bool",
                False,
            ),
            F("token-secret", "The argument is the secret of a legacy token. There are none any more.", "bool", False),
        ),
        """
Says rules of Consul before 1.4, in which every name was the beginning of names, in today's language. The rules are the
argument; @FILE reads them from a file, - from standard input.

    $ lictor acl translate-rules @old.hcl
""",
        "RULES",
        BOTH,
        "Error translating rules",
        ("data",),
    ),
}
