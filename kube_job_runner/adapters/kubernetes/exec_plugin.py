"""Credential plugins: runs a command of the cloud or the company that prints a token or a certificate.

What a plugin prints, its path and its hint may hold secrets or internal addresses. They go to the log of this process only.
The errors say the plugin's name and what is wrong: they reach the records of jobs.

Source: the client.authentication.k8s.io API, v1 and v1beta1, and client-go's plugin/pkg/client/auth/exec.
"""

import asyncio
import base64
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec

from kube_job_runner.adapters.kubernetes.credentials import Credential
from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig, ExecConfig
from kube_job_runner.adapters.kubernetes.tls import ClientCertificate
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.domain.failures import refusals
from kube_job_runner.telemetry.loggers import get_logger

RUN_SECONDS = 60.0
SAID_MAX = 500
"""Characters of a plugin's standard error that go to the log: the last ones."""
EARLY = timedelta(seconds=60)
RENEW_PAUSE_SECONDS = 5.0  # a plugin whose tokens are always refused must not run for every request

_log = get_logger(__name__)


class _Status(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _Status | None = None


class ExecSource:
    """The credentials of a plugin, kept until a minute before they expire. After a 401 the plugin runs once more.

    The command runs once for any number of callers that wait at the same time.
    """

    def __init__(
        self,
        config: ConnectionConfig,
        *,
        variables: Mapping[str, str],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        """Prepare the plugin of `config`. Its environment is `variables`.

        Raises:
            ConfigurationError: the command does not exist.
        """
        if config.user.exec_plugin is None:
            raise ValueError("the configuration has no credential plugin")
        self._plugin: ExecConfig = config.user.exec_plugin
        self._now = now
        self._monotonic = monotonic
        self._environment = {**variables, **dict(self._plugin.env)}
        self._environment["KUBERNETES_EXEC_INFO"] = _exec_info(config, self._plugin)
        self._credential: Credential | None = None
        self._expires_at: datetime | None = None
        self._renewed_at: float | None = None
        self._run: asyncio.Task[Credential] | None = None
        if shutil.which(self._plugin.command, path=self._environment.get("PATH")) is None:
            hint = f". {self._plugin.install_hint.strip()}" if self._plugin.install_hint else ""
            raise ConfigurationError(f"credential plugin {self._plugin.command!r} not found{hint}")

    async def get(self) -> Credential:
        """Return the credential; run the plugin if there is none, or if it expires within a minute."""
        if self._credential is not None and not self._expired():
            return self._credential
        return await self._shared_run()

    async def renew(self, rejected: Credential) -> None:
        """Run the plugin again, unless it ran since `rejected` was returned, or was renewed a moment ago."""
        if self._credential is not None and self._credential is not rejected:
            return
        now = self._monotonic()
        if self._run is None and self._renewed_at is not None and now - self._renewed_at < RENEW_PAUSE_SECONDS:
            return
        self._renewed_at = now
        await self._shared_run()

    def _expired(self) -> bool:
        return self._expires_at is not None and self._now() >= self._expires_at - EARLY

    async def _shared_run(self) -> Credential:
        if self._run is None:
            self._run = asyncio.create_task(self._fetch())
            self._run.add_done_callback(self._finished)
        return await asyncio.shield(self._run)

    def _finished(self, task: asyncio.Task[Credential]) -> None:
        self._run = None
        if not task.cancelled():
            task.exception()  # the callers get it, if they were not all cancelled

    async def _fetch(self) -> Credential:
        status = self._parse(await self._output())
        certificate = None
        if status.client_certificate_data and status.client_key_data:
            certificate = ClientCertificate(status.client_certificate_data.encode(), status.client_key_data.encode())
        if not status.token and certificate is None:
            raise self._failure("printed neither a token nor a certificate with its key")
        self._expires_at = status.expiration_timestamp
        self._credential = Credential(
            authorization=f"Bearer {status.token.strip()}" if status.token else None, certificate=certificate
        )
        return self._credential

    async def _output(self) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                self._plugin.command,
                *self._plugin.args,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
            )
        except OSError as error:
            raise self._failure("cannot be started", said=str(error)) from None
        try:
            async with asyncio.timeout(RUN_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError:
            raise self._failure(f"did not end within {RUN_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            said = errors.decode("utf-8", "replace").strip()[-SAID_MAX:]
            raise self._failure(f"failed with exit code {process.returncode}", said=said)
        return output

    def _parse(self, output: bytes) -> _Status:
        try:
            credential = msgspec.json.decode(output, type=_ExecCredential)
        except (msgspec.MsgspecError, ValueError):  # the text of the error could quote the output
            raise self._failure("did not print an ExecCredential as JSON") from None
        if credential.api_version != self._plugin.api_version:
            raise self._failure(f"did not print apiVersion {self._plugin.api_version}")
        if credential.status is None:
            raise self._failure("printed an ExecCredential without status")
        return credential.status

    def _failure(self, text: str, *, said: str = "") -> TemporaryError:
        """Log a failure with what the plugin said, and return the error, which leaves that out."""
        _log.warning(
            "credential plugin failed",
            action="credentials.plugin",
            plugin=self._plugin.command,
            error=text,
            said=said,
            hint=self._plugin.install_hint.strip(),
        )
        name = os.path.basename(self._plugin.command)  # noqa: PTH119 - of a path of any system
        missing = refusals.CREDENTIALS_UNAVAILABLE
        return TemporaryError(
            f"the credential plugin {name} {text}; see the log of the component",
            delay_seconds=missing.retry_seconds,
            reason=missing.reason,
        )


def _exec_info(config: ConnectionConfig, plugin: ExecConfig) -> str:
    """Return the value of KUBERNETES_EXEC_INFO (client.authentication.k8s.io, ExecCredentialSpec)."""
    spec: dict[str, object] = {"interactive": False}
    if plugin.provide_cluster_info:
        cluster: dict[str, object] = {"server": config.server}
        if config.tls_server_name:
            cluster["tls-server-name"] = config.tls_server_name
        if config.insecure_skip_tls_verify:
            cluster["insecure-skip-tls-verify"] = True
        if config.certificate_authority is not None:
            try:
                authority = config.certificate_authority.read()
            except OSError as error:
                raise ConfigurationError(f"{config.origin}: {error}") from None
            cluster["certificate-authority-data"] = base64.b64encode(authority).decode("ascii")
        if config.proxy_url:
            cluster["proxy-url"] = config.proxy_url
        if plugin.cluster_config is not None:
            cluster["config"] = plugin.cluster_config
        spec["cluster"] = cluster
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    return msgspec.json.encode(info).decode()
