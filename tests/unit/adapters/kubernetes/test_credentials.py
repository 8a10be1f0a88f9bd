"""Tokens and certificates that rotate, and credential plugins."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl
from multidict import CIMultiDict, CIMultiDictProxy
from structlog.testing import capture_logs

from kube_job_runner.adapters.kubernetes import client, exec_plugin, tls
from kube_job_runner.adapters.kubernetes.credentials import ConfiguredSource
from kube_job_runner.adapters.kubernetes.exec_plugin import ExecSource
from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig, ExecConfig, Pem, UserConfig
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError


class Time:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds

    def now(self) -> datetime:
        """The same as a time."""
        return datetime(2026, 11, 25, tzinfo=UTC) + timedelta(seconds=self.seconds)


@pytest.fixture
def time() -> Time:
    """A clock."""
    return Time()


def source_of(time: Time, **user: Any) -> ConfiguredSource:
    """Return the source of a configured user."""
    return ConfiguredSource(UserConfig(**user), monotonic=time.monotonic)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("user", "authorization"),
    [
        ({}, None),
        ({"token": " abc\n"}, "Bearer abc"),
        ({"username": "me"}, "Basic bWU6"),
        ({"username": "me", "password": "pw"}, "Basic bWU6cHc="),
        ({"username": "me", "password": "pw", "token": "t"}, "Bearer t"),
    ],
)
async def test_what_goes_into_the_header(time: Time, user: dict[str, Any], authorization: str | None) -> None:
    assert (await source_of(time, **user).get()).authorization == authorization


@pytest.mark.asyncio
async def test_f28_a_token_file_is_read_again_every_minute_and_stripped(time: Time, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    source = source_of(time, token_file=file, token="ignored")
    assert (await source.get()).authorization == "Bearer one"
    file.write_text("  two \n")
    time.seconds += 59
    assert (await source.get()).authorization == "Bearer one"
    time.seconds += 1
    assert (await source.get()).authorization == "Bearer two"


@pytest.mark.asyncio
@pytest.mark.parametrize("broken", ["missing", "empty", "binary"])
async def test_f28_a_token_file_that_is_away_for_a_moment_keeps_the_last_token(
    time: Time, tmp_path: Path, broken: str
) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    source = source_of(time, token_file=file)
    await source.get()
    if broken == "missing":
        file.unlink()
    else:
        file.write_bytes(b"" if broken == "empty" else b"\xff\xfe")
    time.seconds += 61
    assert (await source.get()).authorization == "Bearer one"
    file.write_text("two")
    time.seconds += 61
    assert (await source.get()).authorization == "Bearer two"


@pytest.mark.asyncio
async def test_a_401_reads_the_token_file_at_once_and_once(time: Time, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    source = source_of(time, token_file=file)
    rejected = await source.get()
    file.write_text("two")
    await source.renew(rejected)
    file.write_text("three")
    await source.renew(rejected)  # another request with the same old token: it was renewed meanwhile
    assert (await source.get()).authorization == "Bearer two"


@pytest.mark.asyncio
async def test_no_token_at_all_is_temporary_and_its_file_is_named_in_the_log_only(time: Time, tmp_path: Path) -> None:
    with capture_logs() as logged, pytest.raises(TemporaryError) as caught:
        await source_of(time, token_file=tmp_path / "nope").get()
    assert str(tmp_path) not in str(caught.value), "it reaches the records of jobs"
    assert str(tmp_path / "nope") in logged[0]["error"]


def test_files_of_tls_are_named_in_the_log_only(tmp_path: Path) -> None:
    config = ConnectionConfig(
        server="https://api", certificate_authority=Pem(file=tmp_path / "ca.crt"), origin=str(tmp_path / "config")
    )
    with capture_logs() as logged, pytest.raises(TemporaryError) as caught:
        tls.Contexts(config, monotonic=lambda: 0.0).get(None)
    assert str(tmp_path) not in str(caught.value)
    assert str(tmp_path / "ca.crt") in logged[0]["error"]


def test_words_of_a_library_do_not_reach_the_records_of_jobs() -> None:
    proxy = yarl.URL("http://user:pass-word@proxy.example:3128/?token=abc")
    request = aiohttp.RequestInfo(proxy, "CONNECT", CIMultiDictProxy(CIMultiDict()), proxy)
    errors = [
        aiohttp.ClientHttpProxyError(request, (), status=407, message="Proxy Authentication Required"),
        aiohttp.InvalidURL(proxy),
        ValueError(str(proxy)),
        RuntimeError(str(proxy)),
        aiohttp.ClientPayloadError(f"reading {proxy}"),
    ]
    for error in errors:
        text = str(client._unavailable("creating a job", error))
        assert text.startswith("creating a job: no answer: ")
        assert not any(word in text for word in ("pass-word", "abc", "proxy.example")), text


@pytest.mark.asyncio
async def test_certificate_files_are_read_again_too(time: Time, tmp_path: Path) -> None:
    for name in ("crt", "key"):
        (tmp_path / name).write_text(f"{name}-1")
    source = source_of(time, client_certificate=Pem(file=tmp_path / "crt"), client_key=Pem(file=tmp_path / "key"))
    first = (await source.get()).certificate
    (tmp_path / "crt").write_text("crt-2")
    time.seconds += 61
    second = (await source.get()).certificate
    assert first is not None
    assert second is not None
    assert (first.chain, second.chain) == (b"crt-1", b"crt-2")


# --- Plugins ---

V1 = "client.authentication.k8s.io/v1"
BETA = "client.authentication.k8s.io/v1beta1"

Make = Callable[..., ExecSource]


@pytest.fixture
def make(time: Time, tmp_path: Path) -> Make:
    """Return a maker of plugins: a shell script that counts its runs and prints what the test put into `answer`."""
    script = tmp_path / "plugin"
    script.write_text(
        '#!/bin/sh\necho run >>"$STATE/runs"\nprintf "%s" "$KUBERNETES_EXEC_INFO" >"$STATE/info"\n'
        'env >"$STATE/env"\necho "$@" >"$STATE/args"\n[ -e "$STATE/gate" ] && while [ ! -e "$STATE/go" ]; do sleep 0.01; done\n'
        '[ -e "$STATE/fail" ] && { echo "token expired, run login" >&2; exit 3; }\ncat "$STATE/answer"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def source(*, version: str = V1, **changed: Any) -> ExecSource:
        connection = {key: changed.pop(key) for key in list(changed) if key in ConnectionConfig.__struct_fields__}
        plugin = {"command": str(script), "api_version": version, "env": (("STATE", str(tmp_path)),), **changed}
        return ExecSource(
            ConnectionConfig(
                **{"server": "https://api", **connection, "user": UserConfig(exec_plugin=ExecConfig(**plugin))}
            ),
            variables={"PATH": os.environ["PATH"], "INHERITED": "yes"},
            now=time.now,
            monotonic=time.monotonic,
        )

    return source


def answer(folder: Path, *, version: str = V1, **status: Any) -> None:
    """Set what the plugin prints."""
    (folder / "answer").write_text(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))


def runs(folder: Path) -> int:
    """How often the plugin ran."""
    file = folder / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.asyncio
@pytest.mark.parametrize("version", [V1, BETA])
async def test_a_plugin_is_run_with_its_environment_and_told_about_the_request(
    make: Make, tmp_path: Path, version: str
) -> None:
    answer(tmp_path, version=version, token="t1")
    source = make(version=version, args=("get", "token"))
    assert (await source.get()).authorization == "Bearer t1"
    info = json.loads((tmp_path / "info").read_text())
    assert info == {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    assert (tmp_path / "args").read_text() == "get token\n"
    assert "INHERITED=yes" in (tmp_path / "env").read_text()


@pytest.mark.asyncio
async def test_a_plugin_that_wants_it_is_told_about_the_cluster(make: Make, tmp_path: Path) -> None:
    answer(tmp_path, token="t1")
    source = make(
        provide_cluster_info=True,
        cluster_config={"audience": "x"},
        tls_server_name="name",
        certificate_authority=Pem(data=b"CA"),
        proxy_url="http://proxy",
    )
    await source.get()
    assert json.loads((tmp_path / "info").read_text())["spec"]["cluster"] == {
        "server": "https://api",
        "tls-server-name": "name",
        "certificate-authority-data": "Q0E=",
        "proxy-url": "http://proxy",
        "config": {"audience": "x"},
    }


@pytest.mark.asyncio
async def test_a_credential_is_kept_until_a_minute_before_it_expires(make: Make, tmp_path: Path, time: Time) -> None:
    answer(tmp_path, token="t1", expirationTimestamp=(time.now() + timedelta(seconds=300)).isoformat())
    source = make()
    await source.get()
    time.seconds += 239
    answer(tmp_path, token="t2")
    assert (await source.get()).authorization == "Bearer t1"
    assert runs(tmp_path) == 1
    time.seconds += 1
    assert (await source.get()).authorization == "Bearer t2"
    time.seconds += 1e6  # without an expiry it is kept until a 401
    assert (await source.get()).authorization == "Bearer t2"
    assert runs(tmp_path) == 2


@pytest.mark.asyncio
async def test_callers_at_the_same_time_share_one_run_and_a_cancelled_one_does_not_end_it(
    make: Make, tmp_path: Path
) -> None:
    answer(tmp_path, token="t1")
    (tmp_path / "gate").touch()
    source = make()
    callers = [asyncio.create_task(source.get()) for _ in range(20)]
    await asyncio.sleep(0)
    callers[0].cancel()
    (tmp_path / "go").touch()
    credentials = await asyncio.gather(*callers[1:])
    assert {credential.authorization for credential in credentials} == {"Bearer t1"}
    assert runs(tmp_path) == 1


@pytest.mark.asyncio
async def test_a_401_runs_the_plugin_again_once(make: Make, tmp_path: Path, time: Time) -> None:
    answer(tmp_path, token="t1")
    source = make()
    rejected = await source.get()
    answer(tmp_path, token="t2")
    await asyncio.gather(*(source.renew(rejected) for _ in range(10)))
    assert runs(tmp_path) == 2
    second = await source.get()
    assert second.authorization == "Bearer t2"
    await source.renew(second)  # refused as well, at once: running it for every request would be a storm
    assert runs(tmp_path) == 2
    time.seconds += 6
    await source.renew(second)
    assert runs(tmp_path) == 3


@pytest.mark.asyncio
async def test_a_plugin_may_give_a_client_certificate(make: Make, tmp_path: Path) -> None:
    answer(tmp_path, clientCertificateData="CERT", clientKeyData="KEY")
    credential = await make().get()
    assert credential.authorization is None
    assert credential.certificate is not None
    assert (credential.certificate.chain, credential.certificate.key) == (b"CERT", b"KEY")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ("not json SECRET", "ExecCredential as JSON"),
        ("[]", "ExecCredential as JSON"),
        (json.dumps({"apiVersion": BETA, "status": {"token": "SECRET"}}), "did not print apiVersion"),
        (json.dumps({"apiVersion": "SECRET", "status": {"token": "x"}}), "did not print apiVersion"),
        (json.dumps({"apiVersion": V1}), "without status"),
        (json.dumps({"apiVersion": V1, "status": {}}), "neither a token"),
        (json.dumps({"apiVersion": V1, "status": {"clientCertificateData": "SECRET"}}), "neither a token"),
        (
            json.dumps({"apiVersion": V1, "status": {"token": "SECRET", "expirationTimestamp": "soon"}}),
            "ExecCredential as JSON",
        ),
    ],
)
async def test_a_plugin_that_prints_something_else_is_temporary_and_nothing_of_it_is_repeated(
    make: Make, tmp_path: Path, printed: str, message: str
) -> None:
    (tmp_path / "answer").write_text(printed)
    with capture_logs() as logged, pytest.raises(TemporaryError, match=message) as caught:
        await make().get()
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in str(logged)


@pytest.mark.asyncio
async def test_a_plugin_that_fails_says_so_in_the_log_only_and_is_tried_again_later(make: Make, tmp_path: Path) -> None:
    answer(tmp_path, token="t1")
    (tmp_path / "fail").touch()
    source = make(install_hint="See https://example.com/install")
    with capture_logs() as logged, pytest.raises(TemporaryError) as caught:
        await source.get()
    wanted = "the credential plugin plugin failed with exit code 3; see the log of the component"
    assert str(caught.value) == wanted, "it reaches the records of jobs"
    (line,) = logged
    assert (line["said"], line["hint"]) == ("token expired, run login", "See https://example.com/install")
    assert line["plugin"] == str(tmp_path / "plugin")
    (tmp_path / "fail").unlink()
    assert (await source.get()).authorization == "Bearer t1"


@pytest.mark.asyncio
async def test_a_plugin_that_hangs_is_killed(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_plugin, "RUN_SECONDS", 0.2)
    source = make(command=sys.executable, args=("-c", "import time; time.sleep(600)"))
    with pytest.raises(TemporaryError, match="did not end"):
        await source.get()


def test_a_plugin_that_does_not_exist_is_a_configuration_error_with_its_hint(make: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"no-such-plugin.*not found.*install me"):
        make(command="no-such-plugin", install_hint="install me")
