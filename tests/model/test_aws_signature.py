"""Signatures for AWS: the example of AWS's documentation, and what changes them."""

import pytest

from model.aws_signature import Credentials, Scope, sign

EXAMPLE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
URL = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08"
HEADERS = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
WHEN = "20150830T123600Z"


def test_the_example_of_the_documentation() -> None:
    signed = sign(EXAMPLE, Scope("iam", "us-east-1"), "GET", URL, HEADERS, b"", WHEN)
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )
    assert signed["Host"] == "iam.amazonaws.com" and signed["X-Amz-Date"] == WHEN


@pytest.mark.parametrize(
    "changed",
    [
        {"credentials": Credentials("AKIDEXAMPLE", "other")},
        {"credentials": Credentials(*EXAMPLE[:2], session="s")},
        {"scope": Scope("sts", "us-east-1")},
        {"scope": Scope("iam", "eu-west-1")},
        {"method": "POST"},
        {"url": URL + "&a=b"},
        {"url": "https://other.amazonaws.com/?Action=ListUsers&Version=2010-05-08"},
        {"headers": {**HEADERS, "X-Consul-Iam-Serverid": "x"}},
        {"body": b"x"},
        {"when": "20150830T123601Z"},
    ],
)
def test_everything_is_signed(changed: dict[str, object]) -> None:
    usual = {
        "credentials": EXAMPLE, "scope": Scope("iam", "us-east-1"), "method": "GET", "url": URL, "headers": HEADERS,
        "body": b"", "when": WHEN,
    }  # fmt: skip
    plain = sign(**usual)["Authorization"]  # type: ignore[arg-type]
    other = sign(**{**usual, **changed})["Authorization"]  # type: ignore[arg-type]
    assert plain.rpartition("=")[2] != other.rpartition("=")[2]


def test_order_and_blanks_do_not_matter() -> None:
    one = sign(EXAMPLE, Scope("iam", "us-east-1"), "GET", URL, {"A": "1", "B": "x   y "}, b"", WHEN)
    two = sign(
        EXAMPLE, Scope("iam", "us-east-1"), "GET", "https://iam.amazonaws.com?Version=2010-05-08&Action=ListUsers",
        {"b": "x y", "a": " 1"}, b"", WHEN,
    )  # fmt: skip
    assert one["Authorization"] == two["Authorization"]
