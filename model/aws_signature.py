"""Signatures of requests to AWS, version 4: what proves to AWS who asks, without showing the secret.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html; its example of a
signature is a test.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(NamedTuple):
    """An access key, its secret, and the session that they belong to ("" for none)."""

    key: str
    secret: str
    session: str = ""


class Scope(NamedTuple):
    """Where a signature holds: the service's short name, and a region."""

    service: str
    region: str


def sign(
    credentials: Credentials,
    scope: Scope,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    when: str,
) -> dict[str, str]:
    """The headers of a request, signed. `when` is the time, in UTC, as 20150830T123600Z; AWS takes it for some minutes.

    Raises ValueError for what is no URL.
    """
    parts = urlsplit(url)
    sent = {**headers, "Host": parts.netloc, "X-Amz-Date": when}
    if credentials.session:
        sent["X-Amz-Security-Token"] = credentials.session
    lines = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
    names = ";".join(sorted(lines))
    query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True))
    )
    canonical = "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/-_.~%"),
            query,
            *(f"{name}:{lines[name]}" for name in sorted(lines)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    day = when[:8]
    where = f"{day}/{scope.region}/{scope.service}/aws4_request"
    text = "\n".join((_ALGORITHM, when, where, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret}".encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    sent["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.key}/{where}, SignedHeaders={names}, Signature={signature}"
    )
    return sent
