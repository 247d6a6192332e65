"""`login -aws-auto-bearer-token`: a bearer token made of requests to AWS, signed with the credentials found here."""

import base64
import configparser
import ipaddress
import json
import os
import re
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit

from agent.cli.client import Problem
from agent.cli.flags import Flags
from model.aws_signature import Credentials, Scope, sign
from model.goerrors import go_text

TIMEOUT = 10.0
"""Seconds that AWS, or the machine's own services, have for an answer."""
MAX_ANSWER = 1 << 20
FLAGS = (
    "aws-access-key-id",
    "aws-include-entity",
    "aws-region",
    "aws-secret-access-key",
    "aws-server-id-header-value",
    "aws-session-token",
    "aws-sts-endpoint",
)
"""The flags that have a meaning only together with -aws-auto-bearer-token."""
_CALLER = "Action=GetCallerIdentity&Version=2011-06-15"
_SERVER_ID = "X-Consul-Iam-Serverid"  # As Go writes names of headers, for servers that are particular about it.
_ARN = re.compile(
    r"<Arn>\s*arn:[a-z-]+:(?:iam|sts)::\d+:(?:(user)/(?:[!-~]*/)?|assumed-role/)([A-Za-z0-9+=,.@_-]+)(?:/[^<]*)?\s*</Arn>",
    re.ASCII,
)
_FORM = "application/x-www-form-urlencoded"
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d", re.ASCII)
_CONTAINER = "http://169.254.170.2"
_MACHINE = "http://169.254.169.254"
_PRINTABLE = re.compile(r"[!-~]+")


def bearer_token(flags: Flags, environment: Mapping[str, str] | None = None) -> str:
    """The bearer token for an auth method of type aws-iam. Raises Problem."""
    env = os.environ if environment is None else environment
    given = credentials(flags, env)
    region = _region(flags, env)
    url = _sts(flags, region)
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {"Content-Type": _FORM}
    server_id = flags["aws-server-id-header-value"]
    if server_id:
        if not _PRINTABLE.fullmatch(server_id):
            raise Problem("Invalid -aws-server-id-header-value: it must have printable ASCII only")
        headers[_SERVER_ID] = server_id
    scope = Scope("sts", region)
    if flags["aws-include-entity"]:
        signed = sign(given, scope, "POST", url, headers, _CALLER.encode(), when)
        headers |= _entity_headers(given, region, server_id, _caller(url, signed), when)
    signed = sign(given, scope, "POST", url, headers, _CALLER.encode(), when)
    return json.dumps(
        {
            "iam_http_request_method": "POST",
            "iam_request_url": _encoded(url),
            "iam_request_body": _encoded(_CALLER),
            "iam_request_headers": _encoded(_listed(signed)),
        }
    )


def _sts(flags: Flags, region: str) -> str:
    url = flags["aws-sts-endpoint"] or f"https://sts.{region}.amazonaws.com{'.cn' if region[:3] == 'cn-' else ''}/"
    if not url.startswith(("https://", "http://")):
        raise Problem("Invalid -aws-sts-endpoint: it must be a URL of https or http")
    return str(url)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _listed(headers: dict[str, str]) -> str:
    # The host is that of the URL.
    return json.dumps({name: [value] for name, value in headers.items() if name != "Host"}, separators=(",", ":"))


def _entity_headers(
    given: Credentials, region: str, server_id: str, caller: tuple[str, str], when: str
) -> dict[str, str]:
    """A signed request about the role or user itself, as headers of the other one."""
    kind, name = caller
    action, field = ("GetUser", "UserName") if kind == "user" else ("GetRole", "RoleName")
    body = urlencode({"Action": action, field: name, "Version": "2010-05-08"})
    # IAM is one for all regions of a partition, and signatures for it name one of them.
    url, home = "https://iam.amazonaws.com/", "us-east-1"
    if region.startswith("cn-"):
        url, home = "https://iam.cn-north-1.amazonaws.com.cn/", "cn-north-1"
    elif region.startswith("us-gov-"):
        url, home = "https://iam.us-gov.amazonaws.com/", "us-gov-west-1"
    headers = {"Content-Type": _FORM, **({_SERVER_ID: server_id} if server_id else {})}
    signed = sign(given, Scope("iam", home), "POST", url, headers, body.encode(), when)
    values = {"Method": "POST", "Url": url, "Headers": _listed(signed), "Body": body}
    return {f"X-Consul-Iam-Getentity-{name}": value for name, value in values.items()}


def _caller(url: str, headers: dict[str, str]) -> tuple[str, str]:
    """Whose credentials these are, by AWS: "user" or "role", and its name. Raises Problem."""
    found = _ARN.search(_ask(url, headers, _CALLER.encode()).decode("utf-8", "replace"))
    if found is None:
        raise Problem(f"Error asking {_shown(url)}: the answer tells of no IAM role or user")
    return "user" if found[1] else "role", found[2]


def _ask(url: str, headers: Mapping[str, str], body: bytes | None = None, method: str | None = None) -> bytes:
    """The answer to a request. Raises Problem."""
    try:
        request = urllib.request.Request(url, body, dict(headers), method=method)
        handlers = [urllib.request.ProxyHandler({})] if _is_near(url) else []
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT) as answer:
            found: bytes = answer.read(MAX_ANSWER)
        return found
    except HTTPError as error:
        raise Problem(f"Error asking {_shown(url)}: status {error.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        text = go_text(reason) if isinstance(reason, Exception) else str(reason)
        raise Problem(f"Error asking {_shown(url)}: {text}") from None


def _shown(url: str) -> str:
    return url.partition("?")[0]


def _is_near(url: str) -> bool:
    """Whether a URL leads to this machine or to its own services, for which there is no proxy."""
    try:
        host = urlsplit(url).hostname or ""
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local


# Credentials and region


def credentials(flags: Flags, env: Mapping[str, str]) -> Credentials:
    """The credentials of flags, environment, profile, container or machine, the first that has any. Raises Problem."""
    key, secret, session = flags["aws-access-key-id"], flags["aws-secret-access-key"], flags["aws-session-token"]
    if key or secret or session:
        if not (key and secret):
            raise Problem("Flags -aws-access-key-id and -aws-secret-access-key must be given together")
        return _checked(key, secret, session)
    key, secret = env.get("AWS_ACCESS_KEY_ID", ""), env.get("AWS_SECRET_ACCESS_KEY", "")
    if key and secret:
        return _checked(key, secret, env.get("AWS_SESSION_TOKEN", ""))
    if env.get("AWS_WEB_IDENTITY_TOKEN_FILE") and env.get("AWS_ROLE_ARN"):
        return _of_identity(env, _sts(flags, _region(flags, env)))
    found = _profile(env, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
    if found.get("aws_access_key_id") and found.get("aws_secret_access_key"):
        session = found.get("aws_session_token", "")
        return _checked(found["aws_access_key_id"], found["aws_secret_access_key"], session)
    return _of_surroundings(env)


def _checked(key: Any, secret: Any, session: Any) -> Credentials:
    for text in (key, secret, *([session] if session else [])):
        if not isinstance(text, str) or not _PRINTABLE.fullmatch(text):
            raise Problem("The AWS credentials are malformed")
    return Credentials(key, secret, session or "")


def _profile(env: Mapping[str, str], variable: str, name: str) -> dict[str, str]:
    """The profile's section of one of AWS's files; empty when there is none. Raises Problem."""
    path = Path(env.get(variable) or Path(env.get("HOME", "/nonexistent"), ".aws", name))
    profile = env.get("AWS_PROFILE") or "default"
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text())
    except OSError:
        return {}
    except (configparser.Error, ValueError):
        raise Problem(f"Error reading {path}: it is not in the form of AWS's files") from None
    for section in (profile, f"profile {profile}"):
        if parser.has_section(section):
            return dict(parser.items(section))
    return {}


def _region(flags: Flags, env: Mapping[str, str]) -> str:
    found = flags["aws-region"] or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    found = found or _profile(env, "AWS_CONFIG_FILE", "config").get("region") or "us-east-1"
    if not _REGION.fullmatch(found) and not flags["aws-sts-endpoint"]:
        raise Problem(f"Invalid AWS region {found!r}")
    return str(found)


def _of_identity(env: Mapping[str, str], url: str) -> Credentials:
    """What STS gives for a token of another system, such as a pod's of Kubernetes. Raises Problem."""
    file = env["AWS_WEB_IDENTITY_TOKEN_FILE"]
    try:
        token = Path(file).read_text().strip()
    except (OSError, ValueError) as error:
        raise Problem(f"Error reading AWS_WEB_IDENTITY_TOKEN_FILE: {go_text(error)}") from None
    fields = {
        "Action": "AssumeRoleWithWebIdentity",
        "RoleArn": env["AWS_ROLE_ARN"],
        "RoleSessionName": env.get("AWS_ROLE_SESSION_NAME") or "lictor",
        "Version": "2011-06-15",
        "WebIdentityToken": token,
    }
    answer = _ask(url, {"Content-Type": _FORM}, urlencode(fields).encode()).decode("utf-8", "replace")
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    found = [re.search(f"<{name}>\\s*([!-;=-~]+)\\s*</{name}>", answer) for name in names]
    return _checked(*(one[1] if one else None for one in found))


def _of_surroundings(env: Mapping[str, str]) -> Credentials:
    """What the container's or the machine's own service gives. Raises Problem."""
    url, headers = env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""), {}
    if env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        url = f"{_CONTAINER}/{env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'].lstrip('/')}"
    if url:
        if not url.startswith("https://") and not _is_near(url):
            raise Problem("Invalid AWS_CONTAINER_CREDENTIALS_FULL_URI: it must be https or lead to this machine")
        if env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
            headers["Authorization"] = env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        return _parsed(_ask(url, headers))
    if env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        raise Problem("No AWS credentials found")
    base = (env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _MACHINE).rstrip("/")
    try:
        token = _ask(f"{base}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, method="PUT")
        headers = {"X-aws-ec2-metadata-token": token.decode("ascii")}
        folder = f"{base}/latest/meta-data/iam/security-credentials/"
        role = _ask(folder, headers).decode().split("\n")[0].strip()
        return _parsed(_ask(folder + quote(role, safe=""), headers))
    except (Problem, ValueError) as error:
        raise Problem(f"No AWS credentials found; the last place looked at was this machine's: {error}") from None


def _parsed(answer: bytes) -> Credentials:
    try:
        found = json.loads(answer)
        return _checked(found["AccessKeyId"], found["SecretAccessKey"], found.get("Token"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Problem("The answer with AWS credentials is malformed") from None
