"""Auth methods of type `aws-iam`: requests to AWS that a client has signed, and what AWS's answers say of it.

The bearer token holds a signed `sts:GetCallerIdentity` request, and inside its headers maybe a signed `iam:GetRole` or
`iam:GetUser` request. We pass them on as they are: AWS answers only when the signature is right, so its answer proves
who signed. Everything about them is checked first: they may go nowhere but to AWS, and ask nothing else.
"""

import base64
import binascii
import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

from model.gojson import JsonError, parse_json
from server.acl.login.asking import Answer, Question
from server.acl.login.aws_settings import WILDCARD, AwsSettings
from server.acl.login.identity import AwsFields, Identity
from server.acl.login.problems import Refused

MAX_TOKEN = 64 << 10
"""Characters of a bearer token."""
MAX_HEADERS = 64
SERVER_ID = "x-consul-iam-serverid"
_ENTITY = "x-consul-iam-getentity-"
# Not just any name between: `sts.s3.amazonaws.com` would be somebody's bucket.
_REGION = r"[a-z]{2}(-[a-z]+)+-\d"
_STS_HOST = re.compile(rf"sts(-fips)?(\.{_REGION})?\.amazonaws\.com(\.cn)?", re.ASCII)
_IAM_HOST = re.compile(rf"iam(\.({_REGION}|us-gov))?\.amazonaws\.com(\.cn)?", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,100}", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_ALLOWED = frozenset(
    ("authorization", "content-length", "content-type", "host", "accept-encoding", "user-agent", SERVER_ID)
)
_OURS = frozenset(("host", "content-length"))
"""Headers that follow from the address and the body, and so are not passed on."""
_NAME = r"[A-Za-z0-9+=,.@_-]+"
_CALLER_ARN = re.compile(
    rf"arn:([a-z-]+):(?:iam|sts)::(\d+):(?:(user)/(?:[!-~]*/)?({_NAME})|assumed-role/({_NAME})/{_NAME})", re.ASCII
)


class SignedRequests(NamedTuple):
    """What to ask AWS: who signed, and, when details are wanted, about the role or user."""

    caller: Question
    entity: Question | None


class Caller(NamedTuple):
    """Who signed: the ARN (of a session, for a role), its account, the unique ID of the role or user, and its name."""

    arn: str
    account: str
    unique_id: str
    name: str


class Entity(NamedTuple):
    """A role or user as IAM tells of it."""

    arn: str
    unique_id: str
    name: str
    path: str
    tags: dict[str, str]


def signed_requests(settings: AwsSettings, bearer_token: str) -> SignedRequests:
    """The requests in a bearer token. Raises Refused."""
    if len(bearer_token) > MAX_TOKEN:
        raise Refused(f"invalid token: it is longer than {MAX_TOKEN} characters")
    outer = _object(bearer_token.encode("utf-8", "replace"), "the token")
    if outer.get("iam_http_request_method") != "POST":
        raise Refused("invalid token: iam_http_request_method must be POST")
    body = _decoded(outer, "iam_request_body").decode("utf-8", "replace")
    _check_form(body, "iam_request_body", {"Action": ("GetCallerIdentity",), "Version": None})
    headers = _headers(settings, _object(_decoded(outer, "iam_request_headers"), "iam_request_headers"))
    url = _decoded(outer, "iam_request_url").decode("utf-8", "replace")
    signed = _signed_names(headers)
    if settings.server_id and (headers.get(SERVER_ID) != settings.server_id or SERVER_ID not in signed):
        raise Refused("invalid token: header X-Consul-IAM-ServerID must be signed and have the expected value")
    question = _question(url, headers, body, settings.sts_endpoint, _STS_HOST, "iam_request_url")
    return SignedRequests(question, _entity_request(settings, headers) if settings.details else None)


def _entity_request(settings: AwsSettings, headers: dict[str, str]) -> Question:
    values = {name: headers.get(_ENTITY + name, "") for name in ("method", "url", "headers", "body")}
    if not all(values.values()):
        raise Refused("invalid token: it has no signed iam:GetRole or iam:GetUser request, which the auth method wants")
    if values["method"] != "POST":
        raise Refused("invalid token: the method of the entity request must be POST")
    body = values["body"]
    wanted: dict[str, tuple[str, ...] | None] = {"Action": ("GetRole", "GetUser"), "Version": None}
    action = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=8)).get("Action")
    wanted["RoleName" if action == "GetRole" else "UserName"] = None
    _check_form(body, "entity request body", wanted)
    inner = _headers(settings, _object(values["headers"].encode(), "entity request headers"))
    _signed_names(inner)
    return _question(values["url"], inner, body, settings.iam_endpoint, _IAM_HOST, "entity request URL")


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        found = parse_json(raw)
    except JsonError as error:
        raise Refused(f"invalid token: {what}: {error}") from None
    if not isinstance(found, dict):
        raise Refused(f"invalid token: {what} is not an object")
    return found


def _decoded(outer: dict[str, Any], name: str) -> bytes:
    value = outer.get(name)
    if not isinstance(value, str):
        raise Refused(f"invalid token: {name} is missing")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"invalid token: {name} is not base64") from None


def _check_form(body: str, what: str, wanted: dict[str, tuple[str, ...] | None]) -> None:
    """Raise Refused unless a form has an action and only wanted fields, each once, with one of the wanted values."""
    try:
        fields = parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body), max_num_fields=8)
    except ValueError:
        raise Refused(f"invalid token: {what} error: it is no form") from None
    seen = set()
    for name, value in fields:
        if name not in wanted:
            raise Refused(f'invalid token: {what} error: unexpected field "{name[:50]}"')
        allowed = wanted[name]
        if name in seen or (value and allowed is not None and value not in allowed):
            raise Refused(f"invalid token: {what} error: unexpected value {name}=[{value[:50]}]")
        seen.add(name)
    if not dict(fields).get("Action"):
        raise Refused(f'invalid token: {what} error: missing field "Action"')


def _headers(settings: AwsSettings, given: dict[str, Any]) -> dict[str, str]:
    """Headers by their names in lower case; each is allowed and has one value."""
    if len(given) > MAX_HEADERS:
        raise Refused(f"invalid token: it has more than {MAX_HEADERS} headers")
    found: dict[str, str] = {}
    for name, values in given.items():
        value = values[0] if isinstance(values, list) and len(values) == 1 else values
        key = name.lower()
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value) or not _HEADER_NAME.fullmatch(name):
            raise Refused("invalid token: a header is malformed or has not one value")
        if not (key in _ALLOWED or key in settings.allowed_headers or key.startswith(("x-amz-", _ENTITY))):
            raise Refused(f"invalid token: header {name} is not allowed")
        if key in found:
            raise Refused(f"invalid token: header {name} is there twice")
        found[key] = value
    return found


def _signed_names(headers: dict[str, str]) -> frozenset[str]:
    """The names of the headers that the signature covers."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if scheme != "AWS4-HMAC-SHA256" or not parts.get("Signature"):
        raise Refused("invalid token: the request has no AWS signature, version 4")
    return frozenset(parts.get("SignedHeaders", "").lower().split(";"))


def _question(
    url: str, headers: dict[str, str], body: str, endpoint: str, hosts: re.Pattern[str], what: str
) -> Question:
    """A signed request, for AWS or for the endpoint that the settings name."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused(f"invalid token: {what} is invalid") from None
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise Refused(f"invalid token: {what} is invalid")
    if not endpoint:
        if parts.scheme != "https" or port not in (None, 443) or not hosts.fullmatch(parts.hostname):
            raise Refused(f"invalid token: {what} is not an address of AWS")
        if parts.path not in ("", "/"):
            raise Refused(f"invalid token: {what} has a path")
    sent = tuple((name, value) for name, value in headers.items() if name not in _OURS)
    return Question("POST", endpoint or url, (("Host", parts.netloc), *sent), body.encode())


def caller_of(answer: Answer) -> Caller:
    """Who signed, by the answer of STS. Raises Refused."""
    root = _xml(answer, "STS")
    arn, user, account = (_text(root, f"GetCallerIdentityResult/{name}") for name in ("Arn", "UserId", "Account"))
    found = _CALLER_ARN.fullmatch(arn)
    # Of a role's session the ID is that of the role, then a colon and the name of the session.
    unique_id = user.partition(":")[0]
    if found is None or found[2] != account or not unique_id:
        raise Refused("STS tells of no IAM role or user")
    name = found[4] or found[5]
    kind = "user" if found[3] else "role"
    return Caller(f"arn:{found[1]}:iam::{account}:{kind}/{name}", account, unique_id, name)


def entity_of(answer: Answer) -> Entity:
    """A role or user, by the answer of IAM. Raises Refused."""
    root = _xml(answer, "IAM")
    kind = "Role" if root.find("GetRoleResult/Role") is not None else "User"
    at = root.find(f"Get{kind}Result/{kind}")
    if at is None:
        raise Refused("IAM tells of no role or user")
    tags = {_text(member, "Key"): _text(member, "Value") for member in at.findall("Tags/member")}
    return Entity(_text(at, "Arn"), _text(at, f"{kind}Id"), _text(at, f"{kind}Name"), _text(at, "Path"), tags)


def _xml(answer: Answer, who: str) -> ElementTree.Element:
    if answer.status != 200:
        raise Refused(f"received error code {answer.status} from {who}")
    try:
        text = answer.body.decode()
        if "<!DOCTYPE" in text:  # Where entities would be defined, of which a few become many.
            raise ValueError
        root = ElementTree.fromstring(text)
    except (ValueError, ElementTree.ParseError):
        raise Refused(f"the answer of {who} cannot be read") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _text(at: ElementTree.Element, path: str) -> str:
    return (at.findtext(path) or "").strip()


def identity_of(settings: AwsSettings, caller: Caller, entity: Entity | None) -> Identity:
    """The identity of who signed, when it may log in. Raises Refused."""
    arn = caller.arn
    if entity is not None:
        # Any role or user may stand in that request; only the ID ties it to the one that signed.
        if entity.unique_id != caller.unique_id:
            raise Refused("unique id mismatch in login: the entity request is about another role or user")
        arn = entity.arn
    if not any(_covers(bound, arn) for bound in settings.arns):
        raise Refused(f"IAM principal {arn} is not trusted")
    tags = {tag: entity.tags.get(tag, "") for tag in settings.tags} if entity is not None else {}
    fields = AwsFields(
        entity_name=caller.name,
        entity_id=caller.unique_id,
        account_id=caller.account,
        entity_path=entity.path if entity is not None else "",
        entity_tags=tags,
    )
    variables = {
        "entity_name": fields.entity_name,
        "entity_id": fields.entity_id,
        "account_id": fields.account_id,
    }
    if entity is not None:
        variables["entity_path"] = fields.entity_path
        variables |= {f"entity_tags.{tag}": value for tag, value in tags.items()}
    return Identity(fields, variables)


def _covers(bound: str, arn: str) -> bool:
    return arn.startswith(bound.removesuffix(WILDCARD)) if bound.endswith(WILDCARD) else arn == bound
