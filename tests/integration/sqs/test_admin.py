"""`kjr queue init` and `kjr queue check` on a real server, and which credentials the requests carry."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kube_job_runner.adapters.sqs import admin
from kube_job_runner.adapters.sqs.client import open_client
from kube_job_runner.bootstrap import commands
from kube_job_runner.bootstrap.components import BY_NAME, all_components
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.ports import QueueCounts
from kube_job_runner.settings import Settings, aws_region, load
from testbed.elasticmq import ElasticMQ
from tests.support import sqs


def settings(server: ElasticMQ, **fields: Any) -> Settings:
    defaults: dict[str, Any] = {
        "queue": f"sqs://kjr-{secrets.token_hex(4)}",
        "queue_endpoint": server.url,
        "max_deliveries": 3,
    }
    return load(defaults | fields, {})


@pytest.mark.usefixtures("aws_environment")
class TestInitAndCheck:
    def test_init_makes_what_is_missing_and_only_that(self, sqs_server: ElasticMQ) -> None:
        mine = settings(sqs_server)
        found = commands.check_queue(mine)
        assert found is not None
        assert "run `kjr queue init`" in found[0][0]
        done = commands.init_queue(mine)
        assert done is not None
        assert len(done) == 3
        assert "after 8 receives" in done[2]
        assert commands.init_queue(mine) == []
        assert commands.check_queue(mine) == ([], QueueCounts())

    def test_more_deliveries_need_more_receives(self, sqs_server: ElasticMQ) -> None:
        mine = settings(sqs_server)
        commands.init_queue(mine)
        more = settings(sqs_server, queue=mine.queue.address, max_deliveries=20)
        found = commands.check_queue(more)
        assert found is not None
        assert "SQS moves a message after 8 receives" in found[0][0]
        [line] = commands.init_queue(more) or []
        assert "after 25 receives" in line
        assert commands.check_queue(more) == ([], QueueCounts())

    @pytest.mark.asyncio
    async def test_check_names_what_does_not_fit(self, sqs_server: ElasticMQ) -> None:
        where = sqs.new_address(sqs_server.url)
        async with open_client(where) as client:
            await client.call("create_queue", QueueName=where.name, Attributes={"DelaySeconds": "5"})
        problems, _ = await admin.check(where, max_deliveries=3)
        assert ["no redrive policy" in problems[0], "delays every message by 5 s" in problems[1]] == [True, True]
        short = admin._problems({"MessageRetentionPeriod": "3600"}, max_deliveries=3)
        assert "less than a day" in short[1]

    def test_what_cannot_be_made_is_said(self, sqs_server: ElasticMQ) -> None:
        with pytest.raises(ConfigurationError, match="at most 995"):
            commands.init_queue(settings(sqs_server, max_deliveries=996))
        with pytest.raises(ConfigurationError, match="belongs to account 123456789012"):
            commands.init_queue(settings(sqs_server, queue="sqs://123456789012/kjr"))
        with pytest.raises(ConfigurationError, match="get queue url"):
            commands.init_queue(settings(sqs_server, queue_endpoint="http://127.0.0.1:1"))
        with pytest.raises(ConfigurationError, match="get queue url"):
            commands.check_queue(settings(sqs_server, queue_endpoint="http://127.0.0.1:1"))

    def test_without_a_region_the_settings_are_named(
        self, sqs_server: ElasticMQ, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        monkeypatch.delenv("AWS_REGION", raising=False)
        with pytest.raises(ConfigurationError, match="KJR_QUEUE_REGION or AWS_REGION"):
            commands.check_queue(settings(sqs_server))


def test_a_queue_in_the_database_needs_nothing() -> None:
    assert commands.init_queue(Settings()) is None
    assert commands.check_queue(Settings()) is None
    assert BY_NAME["outbox-relay"] not in all_components(Settings())
    assert BY_NAME["outbox-relay"] in all_components(load({"queue": "sqs://kjr"}, {}))


def test_a_relay_without_a_queue_to_relay_to_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nothing to relay, the queue is in PostgreSQL"):
        commands.serve(Settings(), ["outbox-relay"])


def test_the_region_of_awss_own_variables() -> None:
    assert aws_region({"AWS_REGION": "a"}) == "a"
    assert aws_region({"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}) == "b"
    assert aws_region({}) is None


# --- Credentials ------------------------------------------------------------------------------------------------------

STS_ANSWER = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIDWEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
ROLE = {
    "Code": "Success",
    "AccessKeyId": "AKIDROLE",
    "SecretAccessKey": "s",
    "Token": "t",
    "Expiration": "2099-01-01T00:00:00Z",
    "LastUpdated": "2026-01-01T00:00:00Z",
    "Type": "AWS-HMAC",
}


class Aws(ThreadingHTTPServer):
    """SQS, STS and the metadata service of an instance in one, as far as a first request goes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.keys: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(BaseHTTPRequestHandler):
    server: Aws

    def do_GET(self) -> None:
        self._answer("role" if self.path.endswith("security-credentials/") else json.dumps(ROLE))

    def do_PUT(self) -> None:
        self._answer("token")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if "AssumeRoleWithWebIdentity" in body:
            assert "WebIdentityToken=the-token" in body
            self._answer(STS_ANSWER, kind="text/xml")
            return
        key = re.search(r"Credential=(\w+)/", self.headers["authorization"])
        assert key
        self.server.keys.append(key[1])
        self._answer(json.dumps({"QueueUrl": f"{self.server.url}/1/kjr", "Attributes": {}}))

    def _answer(self, text: str, *, kind: str = "application/x-amz-json-1.0") -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("x-aws-ec2-metadata-token-ttl-seconds", "60")
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def aws() -> Iterator[Aws]:
    with Aws() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("kind", "key"),
    [("environment", "AKIDENV"), ("profile", "AKIDFILE"), ("web identity", "AKIDWEB"), ("instance", "AKIDROLE")],
)
def test_credentials_come_from_the_whole_chain(
    aws: Aws, kind: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "credentials").write_text("[ops]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s\n")
    (tmp_path / "token").write_text("the-token")
    variables = {
        "environment": {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s"},
        "profile": {"AWS_PROFILE": "ops"},
        "web identity": {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/kjr",
            "AWS_ENDPOINT_URL_STS": aws.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        "instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.url},
    }[kind]
    for name, value in {
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        **variables,
    }.items():
        monkeypatch.setenv(name, value)
    commands.check_queue(load({"queue": "sqs://kjr", "queue_endpoint": aws.url, "queue_region": "eu-west-1"}, {}))
    assert set(aws.keys) == {key}


def test_without_any_credentials_the_ways_to_give_them_are_named(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigurationError, match="no AWS credentials were found"):
        commands.check_queue(load({"queue": "sqs://kjr", "queue_endpoint": aws.url, "queue_region": "eu-west-1"}, {}))
