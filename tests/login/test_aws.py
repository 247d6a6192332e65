"""AWS's signed requests: which are passed on, and what AWS's answers prove."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.acl.login import aws_iam
from server.acl.login.asking import Answer
from server.acl.login.aws_settings import AwsSettings, read_settings
from server.acl.login.identity import AwsFields
from server.acl.login.problems import Refused

ROLE = "arn:aws:iam::123456789012:role/web"
SIGNATURE = "AWS4-HMAC-SHA256 Credential=k/20220322/us-east-1/sts/aws4_request, SignedHeaders={}, Signature=abc"
HEADERS: dict[str, Any] = {
    "Authorization": [SIGNATURE.format("content-length;content-type;host;x-amz-date;x-consul-iam-serverid")],
    "Content-Length": ["43"],
    "Content-Type": ["application/x-www-form-urlencoded; charset=utf-8"],
    "X-Amz-Date": ["20220322T211103Z"],
}
ENTITY = {
    "X-Consul-Iam-Getentity-Method": ["POST"],
    "X-Consul-Iam-Getentity-Url": ["https://iam.amazonaws.com/"],
    "X-Consul-Iam-Getentity-Headers": [json.dumps(HEADERS)],
    "X-Consul-Iam-Getentity-Body": ["Action=GetRole&RoleName=web&Version=2010-05-08"],
}
CALLER_BODY = "Action=GetCallerIdentity&Version=2011-06-15"


def settings(**more: Any) -> AwsSettings:
    return read_settings({"BoundIAMPrincipalARNs": [ROLE], **more})


def bearer(
    url: str = "https://sts.amazonaws.com/", body: str = CALLER_BODY, method: str = "POST", headers: Any = HEADERS
) -> str:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    return json.dumps(
        {
            "iam_http_request_method": method,
            "iam_request_url": encoded(url),
            "iam_request_body": encoded(body),
            "iam_request_headers": encoded(json.dumps(headers)),
        }
    )


def refusal(token: str, **more: Any) -> str:
    with pytest.raises(Refused) as caught:
        aws_iam.signed_requests(settings(**more), token)
    return str(caught.value)


def test_a_signed_request_is_passed_on_as_it_is() -> None:
    found = aws_iam.signed_requests(settings(), bearer())
    question = found.caller
    assert (question.method, question.url, question.body) == (
        "POST",
        "https://sts.amazonaws.com/",
        CALLER_BODY.encode(),
    )
    assert dict(question.headers) == {
        "Host": "sts.amazonaws.com",
        "authorization": HEADERS["Authorization"][0],
        "content-type": HEADERS["Content-Type"][0],
        "x-amz-date": "20220322T211103Z",
    }
    assert not question.follow and found.entity is None


def test_an_endpoint_of_the_settings_is_asked_in_the_name_of_aws() -> None:
    found = aws_iam.signed_requests(settings(STSEndpoint="http://127.0.0.1:1/sts/"), bearer())
    assert found.caller.url == "http://127.0.0.1:1/sts/" and dict(found.caller.headers)["Host"] == "sts.amazonaws.com"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://sts.amazonaws.com.evil.example/",
        "https://evil.example/?sts.amazonaws.com",
        "https://sts.amazonaws.com@evil.example/",
        "https://sts.amazonaws.com:8443/",
        "http://sts.amazonaws.com/",
        "https://sts.amazonaws.com/path",
        "https://sts.amazonaws.com/?Action=GetSessionToken",
        "https://sts.amazonaws.com/#x",
        "https://iam.amazonaws.com/",
        "https://sts.s3.amazonaws.com/",
        "https://sts.amazonaws.com:99999/",
        "https://[x/",
        "",
    ],
)
def test_requests_go_to_aws_alone(url: str) -> None:
    assert "iam_request_url" in refusal(bearer(url))


@pytest.mark.parametrize("region", ["us-east-1.", "cn-north-1.", "us-gov-west-1."])
def test_regions_of_aws_are_taken(region: str) -> None:
    suffix = ".cn" if region.startswith("cn") else ""
    url = f"https://sts.{region}amazonaws.com{suffix}/"
    assert aws_iam.signed_requests(settings(), bearer(url)).caller.url == url


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", 'missing field "Action"'),
        ("Action=", 'missing field "Action"'),
        ("Version=1", 'missing field "Action"'),
        ("Action=GetSessionToken", "unexpected value Action=[GetSessionToken]"),
        ("Action=GetCallerIdentity&Action=GetSessionToken", "unexpected value Action=[GetSessionToken]"),
        ("Action=GetCallerIdentity&Action=GetCallerIdentity", "unexpected value Action="),
        ("Action=GetCallerIdentity&X=1", 'unexpected field "X"'),
        ("nonsense", "it is no form"),
        ("&" * 100, "it is no form"),
    ],
)
def test_nothing_but_the_identity_is_asked_for(body: str, text: str) -> None:
    assert f"iam_request_body error: {text}" in refusal(bearer(body=body))


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "no AWS signature"),
        ({"Authorization": ["Bearer x"]}, "no AWS signature"),
        ({"Authorization": ["AWS4-HMAC-SHA256 Credential=x"]}, "no AWS signature"),
        ({**HEADERS, "X-Forwarded-Host": ["x"]}, "header X-Forwarded-Host is not allowed"),
        ({**HEADERS, "X-Amz-Date": ["a", "b"]}, "has not one value"),
        ({**HEADERS, "X-Amz-Date": ["a\r\nX: y"]}, "malformed"),
        ({**HEADERS, "X-Amz-\r\n": ["a"]}, "malformed"),
        ({**HEADERS, "x-amz-date": ["a"]}, "is there twice"),
        ({f"X-Amz-{number}": ["x"] for number in range(100)}, "more than 64 headers"),
        ([], "is not an object"),
    ],
)
def test_headers_are_judged(headers: Any, text: str) -> None:
    assert text in refusal(bearer(headers=headers))


def test_more_headers_can_be_allowed() -> None:
    headers = {**HEADERS, "X-Extra": ["1"]}
    assert "not allowed" in refusal(bearer(headers=headers))
    found = aws_iam.signed_requests(settings(AllowedSTSHeaderValues=["X-Extra"]), bearer(headers=headers))
    assert dict(found.caller.headers)["x-extra"] == "1"


def test_the_servers_id_has_to_be_there_and_signed() -> None:
    named = {**HEADERS, "X-Consul-Iam-Serverid": ["consul.example"]}
    assert aws_iam.signed_requests(settings(ServerIDHeaderValue="consul.example"), bearer(headers=named))
    unsigned = {**named, "Authorization": [SIGNATURE.format("host;x-amz-date")]}
    for headers in (HEADERS, unsigned, {**named, "X-Consul-Iam-Serverid": ["other"]}):
        assert "X-Consul-IAM-ServerID" in refusal(bearer(headers=headers), ServerIDHeaderValue="consul.example")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "{}",
        "[]",
        bearer(method="GET"),
        json.dumps({"iam_http_request_method": "POST"}),
        "[" * 50_000,
        "x" * 70_000,
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refusal(token).startswith("invalid token: ")


@given(st.dictionaries(st.sampled_from(sorted(json.loads(bearer()))), st.text() | st.integers()))
def test_whatever_comes_is_refused_in_words(fields: dict[str, Any]) -> None:
    assert refusal(json.dumps({"iam_http_request_method": "POST", **fields}))


DETAILS = {"EnableIAMEntityDetails": True, "IAMEntityTags": ["team"]}


def test_the_request_about_the_role_is_passed_on_when_it_is_wanted() -> None:
    token = bearer(headers={**HEADERS, **ENTITY})
    entity = aws_iam.signed_requests(settings(**DETAILS), token).entity
    assert entity is not None and entity.url == "https://iam.amazonaws.com/"
    assert entity.body == b"Action=GetRole&RoleName=web&Version=2010-05-08"
    assert aws_iam.signed_requests(settings(), token).entity is None
    assert "no signed iam:GetRole" in refusal(bearer(), **DETAILS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Method", "GET"),
        ("Url", "https://sts.amazonaws.com/"),
        ("Url", "https://evil.example/"),
        ("Body", "Action=DeleteRole&RoleName=web"),
        ("Body", "Action=GetRole&UserName=web"),
        ("Body", "Action=GetUser&RoleName=web"),
        ("Headers", "{}"),
        ("Headers", "["),
        ("Headers", '{"Cookie":["x"]}'),
    ],
)
def test_bad_requests_about_the_role_are_refused(name: str, value: str) -> None:
    headers = {**HEADERS, **ENTITY, f"X-Consul-Iam-Getentity-{name}": [value]}
    assert refusal(bearer(headers=headers), **DETAILS).startswith("invalid token: ")


# Answers


def caller_answer(arn: str, user: str = "AROAX:session", account: str = "123456789012", status: int = 200) -> Answer:
    body = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetCallerIdentityResult><Arn>{arn}</Arn><UserId>{user}</UserId><Account>{account}</Account></GetCallerIdentityResult>
</GetCallerIdentityResponse>"""
    return Answer(status, {}, body.encode())


def role_answer(arn: str = "arn:aws:iam::123456789012:role/team/web", unique_id: str = "AROAX") -> Answer:
    body = f"""<GetRoleResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetRoleResult><Role>
  <Path>/team/</Path><RoleName>web</RoleName><RoleId>{unique_id}</RoleId><Arn>{arn}</Arn>
  <Tags><member><Key>team</Key><Value>payments</Value></member><member><Key>secret</Key><Value>s</Value></member></Tags>
</Role></GetRoleResult></GetRoleResponse>"""
    return Answer(200, {}, body.encode())


SESSION = "arn:aws:sts::123456789012:assumed-role/web/session"


def test_the_caller_is_a_role_or_a_user() -> None:
    assert aws_iam.caller_of(caller_answer(SESSION)) == aws_iam.Caller(ROLE, "123456789012", "AROAX", "web")
    user = aws_iam.caller_of(caller_answer("arn:aws:iam::123456789012:user/a/b/alice", "AIDAX"))
    assert user == aws_iam.Caller("arn:aws:iam::123456789012:user/alice", "123456789012", "AIDAX", "alice")


@pytest.mark.parametrize(
    "answer",
    [
        caller_answer("arn:aws:iam::123456789012:root"),
        caller_answer("arn:aws:sts::123456789012:federated-user/x"),
        caller_answer(SESSION, account="999999999999"),
        caller_answer(SESSION, user=""),
        caller_answer(SESSION, user=":session"),
        Answer(200, {}, b'<!DOCTYPE a [<!ENTITY x "y">]>' + caller_answer(SESSION).body),
        caller_answer(SESSION, status=403),
        caller_answer(""),
        Answer(200, {}, b""),
        Answer(200, {}, b"{}"),
        Answer(200, {}, b"\xff\xfe<\x00a\x00/\x00>\x00"),
        Answer(200, {}, b"<a><b></a>"),
        Answer(
            200,
            {},
            b'<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;&x;">]><a>&y;</a>',
        ),
    ],
)
def test_answers_that_prove_nothing_are_refused(answer: Answer) -> None:
    with pytest.raises(Refused):
        aws_iam.caller_of(answer)


def test_the_identity_of_a_trusted_role() -> None:
    made = aws_iam.identity_of(settings(), aws_iam.caller_of(caller_answer(SESSION)), None)
    assert made.fields == AwsFields("web", "AROAX", "123456789012", "", {})
    assert made.variables == {"entity_name": "web", "entity_id": "AROAX", "account_id": "123456789012"}


def test_an_untrusted_role_is_refused() -> None:
    caller = aws_iam.caller_of(caller_answer(SESSION.replace("/web/", "/other/")))
    with pytest.raises(Refused, match="IAM principal arn:aws:iam::123456789012:role/other is not trusted"):
        aws_iam.identity_of(settings(), caller, None)


@pytest.mark.parametrize(
    ("bound", "trusted"),
    [
        ("arn:aws:iam::123456789012:role/team/web", True),
        ("arn:aws:iam::123456789012:role/team/*", True),
        ("arn:aws:iam::123456789012:*", True),
        ("arn:aws:iam::123456789012:role/web", False),
        ("arn:aws:iam::123456789012:role/other/*", False),
        ("arn:aws:iam::123456789012:role/team/we", False),
    ],
)
def test_details_bring_paths_tags_and_wildcards(bound: str, trusted: bool) -> None:
    chosen = read_settings({"BoundIAMPrincipalARNs": [bound], **DETAILS})
    caller, entity = aws_iam.caller_of(caller_answer(SESSION)), aws_iam.entity_of(role_answer())
    if not trusted:
        with pytest.raises(Refused, match="is not trusted"):
            aws_iam.identity_of(chosen, caller, entity)
        return
    made = aws_iam.identity_of(chosen, caller, entity)
    assert made.fields == AwsFields("web", "AROAX", "123456789012", "/team/", {"team": "payments"})
    assert made.variables["entity_tags.team"] == "payments" and "entity_tags.secret" not in made.variables


def test_another_roles_details_are_refused() -> None:
    chosen = read_settings({"BoundIAMPrincipalARNs": ["arn:aws:iam::123456789012:*"], **DETAILS})
    caller = aws_iam.caller_of(caller_answer(SESSION))
    for unique_id in ("AROAY", ""):
        with pytest.raises(Refused, match="unique id mismatch"):
            aws_iam.identity_of(chosen, caller, aws_iam.entity_of(role_answer(unique_id=unique_id)))
    with pytest.raises(Refused, match="IAM tells of no role or user"):
        aws_iam.entity_of(caller_answer(SESSION))
