"""Reads kubeconfig files, merges them as kubectl does, and resolves them to one connection.

Source of the rules: client-go, tools/clientcmd. In loading_rules.go: the first file that sets a value wins, missing files
of a list are skipped, and a relative path belongs to the file that contains it. In client_config.go: the precedence of the
options. An option that we do not support is refused, not ignored: we must act only as the user that the file names.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig, ExecConfig, Pem, UserConfig
from kube_job_runner.domain.errors import ConfigurationError

EXEC_API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
EXEC_EXTENSION = "client.authentication.k8s.io/exec"


class _Entry(msgspec.Struct, rename="kebab"):
    name: str = ""


class _Extension(_Entry):
    extension: Any = None


class _Cluster(msgspec.Struct, rename="kebab"):
    server: str | None = None
    tls_server_name: str | None = None
    insecure_skip_tls_verify: bool | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    proxy_url: str | None = None
    extensions: list[_Extension] | None = None


class _ExecEnv(msgspec.Struct):
    name: str
    value: str | None = None


class _Exec(msgspec.Struct, rename="camel"):
    command: str | None = None
    api_version: str | None = None
    args: list[str] | None = None
    env: list[_ExecEnv] | None = None
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: str | None = None


class _User(msgspec.Struct, rename="kebab"):
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    username: str | None = None
    password: str | None = None
    exec: _Exec | None = None
    auth_provider: _Entry | None = None
    impersonate: str | None = msgspec.field(default=None, name="as")
    impersonate_uid: str | None = msgspec.field(default=None, name="as-uid")
    impersonate_groups: list[str] | None = msgspec.field(default=None, name="as-groups")


class _Context(msgspec.Struct):
    cluster: str | None = None
    user: str | None = None


class _NamedCluster(_Entry):
    cluster: _Cluster | None = None


class _NamedUser(_Entry):
    user: _User | None = None


class _NamedContext(_Entry):
    context: _Context | None = None


class _File(msgspec.Struct, rename="kebab"):
    current_context: str | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None


E_ = TypeVar("E_", bound=_Entry)


def load(paths: Sequence[Path], *, context: str | None = None) -> ConnectionConfig:
    """Return the connection of a context (None: the current context) in these files.

    Raises:
        ConfigurationError: no file exists, one cannot be read, or the context is missing or incomplete.
    """
    files = [(path, _read(path)) for path in paths if path.is_file()]
    shown = ", ".join(str(path) for path in paths)
    if not files:
        raise ConfigurationError(f"kubeconfig not found: {shown}")
    chosen = context or next((file.current_context for _, file in files if file.current_context), None)
    if not chosen:
        raise ConfigurationError(f"{shown}: no current-context; name one with KJR_KUBE_CONTEXT")
    origin = f"kubeconfig {shown}, context {chosen!r}"
    _, entry = _first(chosen, [(path, file.contexts) for path, file in files], what="context", origin=origin)
    cluster_name = (entry.context and entry.context.cluster) or ""
    user_name = (entry.context and entry.context.user) or ""
    where, cluster = _first(cluster_name, [(p, f.clusters) for p, f in files], what="cluster", origin=origin)
    user_folder, user = where, _User()
    if user_name:
        path, named = _first(user_name, [(p, f.users) for p, f in files], what="user", origin=origin)
        user_folder, user = path, named.user or _User()
    return _connection(
        cluster.cluster or _Cluster(), user, cluster_folder=where.parent, user_folder=user_folder.parent, origin=origin
    )


def _first(name: str, lists: Sequence[tuple[Path, list[E_] | None]], *, what: str, origin: str) -> tuple[Path, E_]:
    known: list[str] = []
    for path, entries in lists:
        for entry in entries or ():
            if entry.name == name:
                return path, entry
            known.append(entry.name)
    raise ConfigurationError(f"{origin}: there is no {what} {name!r}; there are: {', '.join(known) or 'none'}")


def _texts(value: Any, key: str = "") -> Any:
    """Return parsed YAML with every plain scalar as text, as client-go reads it. Extensions stay as they are."""
    if key == "extensions":
        return value
    if isinstance(value, dict):
        return {str(name): _texts(part, str(name)) for name, part in value.items()}
    if isinstance(value, list):
        return [_texts(part) for part in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else str(value)


def _read(path: Path) -> _File:
    try:
        document = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  both are safe
        return msgspec.convert(_texts(document or {}), _File, strict=False)
    except OSError as error:
        raise ConfigurationError(f"kubeconfig {path}: {error.strerror or error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # the text of the error quotes the file, which contains secrets
        line = f" in line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"kubeconfig {path}: is not valid YAML or JSON{line}") from None
    except (msgspec.ValidationError, RecursionError) as error:
        raise ConfigurationError(f"kubeconfig {path}: {error}") from None


def _connection(
    cluster: _Cluster, user: _User, *, cluster_folder: Path, user_folder: Path, origin: str
) -> ConnectionConfig:
    if not cluster.server:
        raise ConfigurationError(f"{origin}: its cluster has no server")
    authority = _pem(
        cluster.certificate_authority_data, cluster.certificate_authority, folder=cluster_folder, origin=origin
    )
    return ConnectionConfig(
        server=cluster.server.rstrip("/"),
        user=_user(user, cluster=cluster, folder=user_folder, origin=origin),
        certificate_authority=authority,
        insecure_skip_tls_verify=bool(cluster.insecure_skip_tls_verify),
        tls_server_name=cluster.tls_server_name or None,
        proxy_url=cluster.proxy_url or None,
        origin=origin,
    )


def _user(user: _User, *, cluster: _Cluster, folder: Path, origin: str) -> UserConfig:
    if user.impersonate or user.impersonate_uid or user.impersonate_groups:
        raise ConfigurationError(f"{origin}: impersonation (as, as-groups, as-uid) is not supported")
    if user.auth_provider is not None:
        name = user.auth_provider.name
        raise ConfigurationError(f"{origin}: auth-provider {name!r} is not supported; use a credential plugin (exec)")
    if user.exec is not None and (user.token or user.token_file or user.username):
        raise ConfigurationError(f"{origin}: exec and a token or password exclude each other")
    certificate = _pem(user.client_certificate_data, user.client_certificate, folder=folder, origin=origin)
    key = _pem(user.client_key_data, user.client_key, folder=folder, origin=origin)
    return UserConfig(
        token=user.token or None,
        token_file=folder / user.token_file if user.token_file else None,
        username=user.username or None,
        password=user.password or None,
        client_certificate=certificate,
        client_key=key,
        exec_plugin=_exec(user.exec, cluster=cluster, folder=folder, origin=origin) if user.exec else None,
    )


def _exec(plugin: _Exec, *, cluster: _Cluster, folder: Path, origin: str) -> ExecConfig:
    if not plugin.command:
        raise ConfigurationError(f"{origin}: exec has no command")
    if plugin.api_version not in EXEC_API_VERSIONS:
        known = " or ".join(EXEC_API_VERSIONS)
        raise ConfigurationError(f"{origin}: exec has apiVersion {plugin.api_version!r}; it must be {known}")
    if plugin.interactive_mode == "Always":
        raise ConfigurationError(f"{origin}: the credential plugin wants a terminal (interactiveMode: Always)")
    command = plugin.command
    if "/" in command:  # a path is relative to the kubeconfig, a bare name is looked up in PATH
        command = str(folder / command)
    extensions = cluster.extensions or ()
    return ExecConfig(
        command=command,
        api_version=plugin.api_version,
        args=tuple(plugin.args or ()),
        env=tuple((pair.name, pair.value or "") for pair in plugin.env or ()),
        install_hint=plugin.install_hint or "",
        provide_cluster_info=bool(plugin.provide_cluster_info),
        cluster_config=next((e.extension for e in extensions if e.name == EXEC_EXTENSION), None),
    )


def _pem(data: str | None, file: str | None, *, folder: Path, origin: str) -> Pem | None:
    if data:
        try:
            return Pem(data=base64.b64decode(data, validate=True))
        except binascii.Error:
            raise ConfigurationError(f"{origin}: a *-data field is not base64") from None
    return Pem(file=folder / file) if file else None
