"""What a verified credential is: attributes that selectors of binding rules compare and that bind names can name.

Each type of auth method has its `Shape`: a struct whose fields are the selectors, and the variables of bind names.
"""

from typing import Annotated, NamedTuple

from model.codec import Name, Wire


class JwtFields(Wire, frozen=True):
    """Selectors of a JWT: `value.x` for a claim, `list.y` for a claim that is a list."""

    value: Annotated[dict[str, str] | None, Name("value")] = None
    list_: Annotated[dict[str, list[str]] | None, Name("list")] = None


class ServiceAccount(Wire, frozen=True):
    """A service account of Kubernetes."""

    namespace: Annotated[str, Name("namespace")] = ""
    name: Annotated[str, Name("name")] = ""
    uid: Annotated[str, Name("uid")] = ""


class KubernetesFields(Wire, frozen=True):
    """Selectors of a Kubernetes service account's token."""

    service_account: Annotated[ServiceAccount, Name("serviceaccount")] = ServiceAccount()


class AwsFields(Wire, frozen=True):
    """Selectors of an AWS role or user."""

    entity_name: Annotated[str, Name("entity_name")] = ""
    entity_id: Annotated[str, Name("entity_id")] = ""
    account_id: Annotated[str, Name("account_id")] = ""
    entity_path: Annotated[str, Name("entity_path")] = ""
    entity_tags: Annotated[dict[str, str] | None, Name("entity_tags")] = None


class Shape(NamedTuple):
    """What identities of an auth method look like: the struct of selectors, the names of variables."""

    fields: type[Wire]
    variables: frozenset[str]


class Identity(NamedTuple):
    """One verified credential: what selectors look at, and the values of variables."""

    fields: Wire
    variables: dict[str, str]
