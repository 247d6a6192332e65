"""`login -aws-auto-bearer-token`: a real agent, and a server that plays AWS and checks every signature."""

import base64
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.cli.aws import bearer_token, credentials
from agent.cli.flags import Flags, parse
from agent.cli.problem import Problem
from agent.cli.tables import COMMANDS
from model.aws_signature import Credentials, Scope, sign
from tests.support.process import Agent

ROOT = "10000000-0000-4000-8000-000000000001"
ACCOUNT = "123456789012"
KEYS = {"AKIAROLE": ("role-secret", f"arn:aws:sts::{ACCOUNT}:assumed-role/web/i-1", "AROAX:i-1"),
        "AKIAUSER": ("user-secret", f"arn:aws:iam::{ACCOUNT}:user/team/alice", "AIDAY")}  # fmt: skip
ANSWER = {"AccessKeyId": "AKIAROLE", "SecretAccessKey": "role-secret", "Token": "of-the-session"}


class Aws(BaseHTTPRequestHandler):
    """STS, IAM, and the services that give credentials to containers and machines."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b"Action=AssumeRoleWithWebIdentity" in body:
            secret = "<SecretAccessKey>role-secret</SecretAccessKey>" if b"WebIdentityToken=pod" in body else ""
            return self.say(200, f"<A><AccessKeyId>AKIAROLE</AccessKeyId>{secret}<SessionToken>w=</SessionToken></A>")
        claim = dict(part.strip().split("=", 1) for part in self.headers["Authorization"].split(" ", 1)[1].split(","))
        key, _, region, service, _ = claim["Credential"].split("/")
        signed = {name: self.headers[name] for name in claim["SignedHeaders"].split(";")}
        host, when, session = signed.pop("host"), signed.pop("x-amz-date"), signed.pop("x-amz-security-token", "")
        secret, arn, user = KEYS.get(key, ("", "", ""))
        expected = sign(
            Credentials(key, secret, session), Scope(service, region), "POST", f"https://{host}/", signed, body, when
        )
        if expected["Authorization"] != self.headers["Authorization"]:
            return self.say(403, "<Error>SignatureDoesNotMatch</Error>")
        if service == "sts":
            result = f"<Arn>{arn}</Arn><UserId>{user}</UserId><Account>{ACCOUNT}</Account>"
            return self.say(200, f"<R><GetCallerIdentityResult>{result}</GetCallerIdentityResult></R>")
        if b"GetRole&RoleName=web" in body:
            result = (
                f"<Arn>arn:aws:iam::{ACCOUNT}:role/svc/web</Arn><RoleId>AROAX</RoleId><RoleName>web</RoleName>"
                "<Path>/svc/</Path>"
            )
            return self.say(200, f"<R><GetRoleResult><Role>{result}</Role></GetRoleResult></R>")
        return self.say(404, "")

    def do_PUT(self) -> None:
        self.say(200, "machine-token" if self.path == "/latest/api/token" else "")

    def do_GET(self) -> None:
        if self.path == "/container" and self.headers["Authorization"] == "let-me":
            return self.say(200, json.dumps(ANSWER))
        if self.headers["X-aws-ec2-metadata-token"] == "machine-token":
            folder = "/latest/meta-data/iam/security-credentials/"
            return self.say(200, "web\n" if self.path == folder else json.dumps({**ANSWER, "Token": "machine"}))
        return self.say(401, "")

    def say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Aws)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def given(*words: str) -> Flags:
    command = COMMANDS["login"]
    return parse(list(words), command.flags + command.shared)


# Where credentials come from

FILE = """
[default]
aws_access_key_id = AKIAFILE
aws_secret_access_key = f

[other]
aws_access_key_id = AKIAOTHER
aws_secret_access_key = o
aws_session_token = s
"""


def test_credentials_of_flags_environment_and_files(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(FILE)
    env = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "e", "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    flags = given("-aws-access-key-id=AKIAFLAG", "-aws-secret-access-key=x", "-aws-session-token=t")
    assert credentials(flags, env) == Credentials("AKIAFLAG", "x", "t")
    assert credentials(given(), env) == Credentials("AKIAENV", "e", "")
    env.pop("AWS_ACCESS_KEY_ID")
    assert credentials(given(), env) == Credentials("AKIAFILE", "f", "")
    assert credentials(given(), {**env, "AWS_PROFILE": "other"}) == Credentials("AKIAOTHER", "o", "s")
    file.write_text("no ini")
    with pytest.raises(Problem, match="not in the form"):
        credentials(given(), env)
    with pytest.raises(Problem, match="together"):
        credentials(given("-aws-access-key-id=x"), {})
    with pytest.raises(Problem, match="malformed"):
        credentials(given("-aws-access-key-id=a b", "-aws-secret-access-key=\n"), {})


def test_credentials_of_a_container_and_a_machine(aws: str) -> None:
    container = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{aws}/container"}
    answered = credentials(given(), {**container, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "let-me"})
    assert answered == Credentials("AKIAROLE", "role-secret", "of-the-session")
    with pytest.raises(Problem, match="status 401"):
        credentials(given(), container)
    with pytest.raises(Problem, match="must be https or lead to this machine"):
        credentials(given(), {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/steal"})
    machine = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws}
    assert credentials(given(), machine) == Credentials("AKIAROLE", "role-secret", "machine")
    with pytest.raises(Problem, match="No AWS credentials found"):
        credentials(given(), {**machine, "AWS_EC2_METADATA_DISABLED": "true"})


def test_credentials_for_the_token_of_another_system(aws: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    env = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(file), "AWS_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/web"}
    flags = given(f"-aws-sts-endpoint={aws}")
    with pytest.raises(Problem, match="AWS_WEB_IDENTITY_TOKEN_FILE: open"):
        credentials(flags, env)
    file.write_text("pod\n")
    assert credentials(flags, env) == Credentials("AKIAROLE", "role-secret", "w=")
    file.write_text("other")
    with pytest.raises(Problem, match="malformed"):
        credentials(flags, env)


# Logins


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory, aws: str) -> Iterator[Agent]:
    acl = {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": ROOT, "agent": ROOT}}
    running = Agent(tmp_path_factory.mktemp("agent"), ["-dev"], {"acl": acl})
    running.start()
    try:
        running.until(lambda: running.request("GET", f"/v1/acl/token/self?token={ROOT}")[0] == 200)
        endpoints = {"STSEndpoint": aws, "IAMEndpoint": aws, "ServerIDHeaderValue": "here"}
        methods: list[tuple[str, dict[str, Any]]] = [
            ("plain", {"BoundIAMPrincipalARNs": [f"arn:aws:iam::{ACCOUNT}:role/web"]}),
            ("detailed", {"BoundIAMPrincipalARNs": [f"arn:aws:iam::{ACCOUNT}:role/svc/*"],
                          "EnableIAMEntityDetails": True}),
        ]  # fmt: skip
        for name, config in methods:
            body = {"Name": name, "Type": "aws-iam", "Config": {**config, **endpoints}}
            running.json("PUT", f"/v1/acl/auth-method?token={ROOT}", body)
            rule = {"AuthMethod": name, "BindType": "service", "BindName": "${entity_name}"}
            running.json("PUT", f"/v1/acl/binding-rule?token={ROOT}", rule)
        yield running
    finally:
        running.stop()


def login(agent: Agent, aws: str, *words: str, key: str = "AKIAROLE") -> subprocess.CompletedProcess[str]:
    command, env = agent.command("login", f"-aws-sts-endpoint={aws}/", *words)
    env |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": KEYS[key][0], "PYTHONPATH": os.getcwd()}
    return subprocess.run(command, env=env, cwd=agent.folder, capture_output=True, text=True, timeout=60, check=False)


SINK = ("-aws-auto-bearer-token", "-token-sink-file=sink", "-aws-server-id-header-value=here")


def test_a_role_of_aws_becomes_a_service(agent: Agent, aws: str) -> None:
    for words in (("-method=plain",), ("-method=detailed", "-aws-include-entity", "-type=aws", "-meta=a=b")):
        done = login(agent, aws, *SINK, *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        read = agent.cli("acl", "token", "read", "-self", "-format=json", f"-token-file={agent.folder / 'sink'}")
        assert json.loads(read.stdout)["ServiceIdentities"] == [{"ServiceName": "web"}]
        assert agent.cli("logout", f"-token-file={agent.folder / 'sink'}").returncode == 0


@pytest.mark.parametrize(
    ("words", "key", "reason"),
    [
        (("-method=plain", *SINK), "AKIAUSER", "user/alice is not trusted"),
        (("-method=detailed", *SINK), "AKIAROLE", "no signed iam:GetRole"),
        (("-method=plain", *SINK[:2]), "AKIAROLE", "X-Consul-IAM-ServerID"),
        (("-method=plain", *SINK, "-aws-include-entity", "-aws-access-key-id=AKIAROLE", "-aws-secret-access-key=x"),
         "AKIAROLE", "status 403"),
        (("-method=plain", *SINK, "-bearer-token-file=x"), "AKIAROLE", "Cannot use '-bearer-token-file'"),
        (("-method=plain", "-token-sink-file=s"), "AKIAROLE", "Missing '-aws-auto-bearer-token' flag"),
        (("-method=plain", *SINK, "-aws-sts-endpoint=file:///etc/passwd"), "AKIAROLE", "Invalid -aws-sts-endpoint"),
        (("-method=plain", *SINK, "-type=oidc"), "AKIAROLE", "Invalid -type 'oidc'"),
        (("-method=plain", *SINK[:2], "-aws-server-id-header-value=a b"), "AKIAROLE", "printable ASCII"),
    ],
)  # fmt: skip
def test_who_is_not_trusted_gets_no_token(
    agent: Agent, aws: str, words: tuple[str, ...], key: str, reason: str
) -> None:
    done = login(agent, aws, *(word.replace("sink-file=sink", "sink-file=refused") for word in words), key=key)
    assert done.returncode == 1 and reason in done.stderr, done.stderr
    assert not done.stdout and not (agent.folder / "refused").exists()
    assert "secret" not in done.stderr


def test_requests_are_for_the_regions_own_address() -> None:
    env = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    for region, tld in (("eu-west-1", "com"), ("cn-north-1", "com.cn")):
        token = json.loads(bearer_token(given(), {**env, "AWS_REGION": region}))
        assert base64.b64decode(token["iam_request_url"]).decode() == f"https://sts.{region}.amazonaws.{tld}/"
        headers = json.loads(base64.b64decode(token["iam_request_headers"]))
        assert f"/{region}/sts/aws4_request" in headers["Authorization"][0] and "Host" not in headers
    with pytest.raises(Problem, match="Invalid AWS region"):
        bearer_token(given("-aws-region=evil.com/"), env)
