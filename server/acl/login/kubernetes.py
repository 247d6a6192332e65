"""Auth methods of type `kubernetes`: what to ask Kubernetes' API about a service account's token, and its answers.

Source: the public documentation of Consul's Kubernetes auth method and of Kubernetes' TokenReview and ServiceAccount;
error texts as recorded from Consul 1.14 where there are any.
"""

import re
from typing import Any, NamedTuple

from model.codec import Wire
from model.gojson import JsonError, encode_json, parse_json
from model.weak_decode import WeakError, decode_settings
from server.acl.login.asking import Answer, Question, url_problem
from server.acl.login.authorities import check_authorities
from server.acl.login.identity import Identity, KubernetesFields, ServiceAccount, Shape
from server.acl.login.jwt import parse_token
from server.acl.login.problems import Refused, SettingsProblem

KUBERNETES = "kubernetes"
NAME_ANNOTATION = "consul.hashicorp.com/service-name"
"""Annotation of a service account that stands for its name in binding rules."""
_NO_CERTIFICATE = "data does not contain any valid RSA or ECDSA certificates"
_VARIABLES = frozenset(("serviceaccount.namespace", "serviceaccount.name", "serviceaccount.uid"))
SHAPE = Shape(KubernetesFields, _VARIABLES)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


class KubernetesConfig(Wire, frozen=True):
    """The settings as they are written."""

    host: str = ""
    ca_cert: str = ""
    service_account_jwt: str = ""


class KubernetesSettings(NamedTuple):
    """The settings, checked: the API's URL, the authorities that verify it, and the token with which to ask."""

    url: str
    authorities: str
    token: str

    def __repr__(self) -> str:
        return f"KubernetesSettings({self.url!r})"  # The token is a secret.


def read_settings(config: dict[str, Any] | None) -> KubernetesSettings:
    """The settings of an auth method. Raises SettingsProblem."""
    try:
        given = decode_settings(KubernetesConfig, config)
    except WeakError as error:
        raise SettingsProblem(f"error decoding config: {error}") from None
    if not given.host:
        raise SettingsProblem("Config.Host is required")
    if not given.ca_cert:
        raise SettingsProblem("Config.CACert is required")
    try:
        check_authorities("Config.CACert", given.ca_cert)
    except SettingsProblem:
        raise SettingsProblem(
            "error parsing kubernetes ca cert: data does not contain any valid certificates"
        ) from None
    if not given.service_account_jwt:
        raise SettingsProblem("Config.ServiceAccountJWT is required")
    try:
        parse_token(given.service_account_jwt)
    except Refused as error:
        raise SettingsProblem(f"Config.ServiceAccountJWT is not a valid JWT: {error}") from None
    url = given.host if "://" in given.host else f"https://{given.host}"
    problem = url_problem(url) or ("it has a user" if "@" in url else "")
    if problem:
        raise SettingsProblem(f"Config.Host is invalid: {problem}")
    return KubernetesSettings(url.rstrip("/"), given.ca_cert, given.service_account_jwt)


def _headers(settings: KubernetesSettings) -> tuple[tuple[str, str], ...]:
    return (
        ("Authorization", f"Bearer {settings.token}"),
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
    )


def review(settings: KubernetesSettings, token: str) -> Question:
    """What to ask about a token. Raises Refused when it cannot be one."""
    try:
        parse_token(token)
    except Refused as error:
        raise Refused(f"failed to parse and validate JWT: {error}") from None
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    url = f"{settings.url}/apis/authentication.k8s.io/v1/tokenreviews"
    return Question("POST", url, _headers(settings), encode_json(body), settings.authorities)


def reviewed(answer: Answer) -> ServiceAccount:
    """Whose token it is, by the API's answer. Raises Refused."""
    document = _document(answer, "lookup failed")
    status = document.get("status")
    status = status if isinstance(status, dict) else {}
    if status.get("error"):
        raise Refused(f"lookup failed: {str(status['error'])[:300]}")
    if status.get("authenticated") is not True:
        raise Refused("lookup failed: service account jwt not valid")
    user = status.get("user")
    user = user if isinstance(user, dict) else {}
    name, uid = user.get("username"), user.get("uid")
    parts = name.split(":") if isinstance(name, str) else []
    # A name that is no name of Kubernetes could make another path of the question that follows.
    if len(parts) != 4 or parts[:2] != ["system", "serviceaccount"] or not all(map(_NAME.fullmatch, parts[2:])):
        raise Refused("lookup failed: unexpected username format")
    if not isinstance(uid, str) or not uid:
        raise Refused("lookup failed: the user has no uid")
    return ServiceAccount(parts[2], parts[3], uid)


def account(settings: KubernetesSettings, whose: ServiceAccount) -> Question:
    """What to ask about a service account."""
    url = f"{settings.url}/api/v1/namespaces/{whose.namespace}/serviceaccounts/{whose.name}"
    return Question("GET", url, _headers(settings), authorities=settings.authorities)


def identity_of(whose: ServiceAccount, answer: Answer) -> Identity:
    """The identity of a service account; its annotation, if it has one, stands for its name. Raises Refused."""
    metadata = _document(answer, "annotation lookup failed").get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    name = annotations.get(NAME_ANNOTATION) if isinstance(annotations, dict) else None
    if isinstance(name, str) and name:
        whose = ServiceAccount(whose.namespace, name, whose.uid)
    values = (whose.namespace, whose.name, whose.uid)
    names = ("namespace", "name", "uid")
    variables = {f"serviceaccount.{key}": value for key, value in zip(names, values, strict=True)}
    return Identity(KubernetesFields(service_account=whose), variables)


def _document(answer: Answer, failed: str) -> dict[str, Any]:
    """The object that the API answered with. Raises Refused, `failed` being what did not work."""
    try:
        document = parse_json(answer.body)
    except JsonError:
        document = None
    if not isinstance(document, dict):
        document = {}
    if answer.status not in (200, 201):
        message = document.get("message")
        shown = message[:300] if isinstance(message, str) and message else f"the API answered with {answer.status}"
        raise Refused(f"{failed}: {shown}")
    if not document:
        raise Refused(f"{failed}: the API's answer is no object")
    return document
