"""The `Config` of an auth method of type `aws-iam`: which roles and users of AWS may log in.

Source: the public documentation of Consul's AWS IAM auth method; the text about `BoundIAMPrincipalARNs` as recorded.
"""

from typing import Annotated, Any, NamedTuple

from model.codec import Name, Wire
from model.weak_decode import WeakError, decode_settings
from server.acl.login.asking import url_problem
from server.acl.login.identity import AwsFields, Shape
from server.acl.login.problems import SettingsProblem

AWS_IAM = "aws-iam"
MAX_RETRIES = 5
"""Retries that are made however many are set: a login must end."""
WILDCARD = "*"


class AwsConfig(Wire, frozen=True):
    """The settings as they are written."""

    bound_arns: Annotated[list[str] | None, Name("BoundIAMPrincipalARNs")] = None
    enable_details: Annotated[bool, Name("EnableIAMEntityDetails")] = False
    entity_tags: Annotated[list[str] | None, Name("IAMEntityTags")] = None
    server_id: Annotated[str, Name("ServerIDHeaderValue")] = ""
    max_retries: int = 0
    iam_endpoint: Annotated[str, Name("IAMEndpoint")] = ""
    sts_endpoint: Annotated[str, Name("STSEndpoint")] = ""
    allowed_headers: Annotated[list[str] | None, Name("AllowedSTSHeaderValues")] = None


class AwsSettings(NamedTuple):
    """The settings, checked; names of headers in lower case."""

    arns: tuple[str, ...]
    details: bool
    tags: tuple[str, ...]
    server_id: str
    retries: int
    iam_endpoint: str
    sts_endpoint: str
    allowed_headers: frozenset[str]

    @property
    def shape(self) -> Shape:
        """What identities look like."""
        names = ["entity_name", "entity_id", "account_id"]
        if self.details:
            names += ["entity_path", *(f"entity_tags.{tag}" for tag in self.tags)]
        return Shape(AwsFields, frozenset(names))


def read_settings(config: dict[str, Any] | None) -> AwsSettings:
    """The settings of an auth method. Raises SettingsProblem."""
    try:
        given = decode_settings(AwsConfig, config)
    except WeakError as error:
        raise SettingsProblem(f"error decoding config: {error}") from None
    if not given.bound_arns:
        raise SettingsProblem("BoundIAMPrincipalARNs is required and must have at least 1 entry")
    for arn in given.bound_arns:
        _check_arn(arn, given.enable_details)
    if given.entity_tags and not given.enable_details:
        raise SettingsProblem("Must set EnableIAMEntityDetails=true to use IAMEntityTags")
    if len(set(given.entity_tags or ())) < len(given.entity_tags or ()):
        raise SettingsProblem("IAMEntityTags names a tag twice")
    for setting, url in (("STSEndpoint", given.sts_endpoint), ("IAMEndpoint", given.iam_endpoint)):
        problem = url_problem(url) if url else ""
        if problem:
            raise SettingsProblem(f"{setting} is invalid: {problem}")
    if given.max_retries < 0:
        raise SettingsProblem("MaxRetries must be greater than or equal to 0")
    return AwsSettings(
        arns=tuple(given.bound_arns),
        details=given.enable_details,
        tags=tuple(given.entity_tags or ()),
        server_id=given.server_id,
        retries=min(given.max_retries, MAX_RETRIES),
        iam_endpoint=given.iam_endpoint,
        sts_endpoint=given.sts_endpoint,
        allowed_headers=frozenset(name.lower() for name in given.allowed_headers or ()),
    )


def _check_arn(arn: str, details: bool) -> None:
    problem = f"BoundIAMPrincipalARNs: {arn!r} "
    parts = arn.split(":")
    if len(parts) != 6 or parts[0] != "arn" or not parts[1] or parts[2] != "iam" or not parts[4]:
        raise SettingsProblem(f"{problem}is not the ARN of an IAM role or user")
    if WILDCARD in arn:
        if not details:
            raise SettingsProblem("Must set EnableIAMEntityDetails=true to use wildcards in BoundIAMPrincipalARNs")
        if arn.count(WILDCARD) > 1 or not arn.endswith(WILDCARD):
            raise SettingsProblem(f"{problem}may have one wildcard, at its end")
        return
    kind, _, path = parts[5].partition("/")
    if kind not in ("role", "user") or not path or path.endswith("/"):
        raise SettingsProblem(f"{problem}is not the ARN of an IAM role or user")
    if not details and "/" in path:
        raise SettingsProblem(f"{problem}has a path, for which EnableIAMEntityDetails=true is needed")
