"""Kubeconfig files: merging, paths, users, and what is refused; and the order in which clusters are looked for."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube_job_runner.adapters.kubernetes import kubeconfig, rest_config
from kube_job_runner.adapters.kubernetes.connect import discover
from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig, Pem, UserConfig
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.settings import KubernetesEnvironment, kubernetes_environment
from kube_job_runner.settings.groups import ClusterSettings


def document(**parts: Any) -> dict[str, Any]:
    """Return a kubeconfig with one context `c`, cluster `k` and user `u`; `cluster` and `user` add to them."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "preferences": {},
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "ignored"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://api.example:6443", **parts.get("cluster", {})}}],
        "users": [{"name": "u", "user": parts.get("user", {})}],
        **parts.get("top", {}),
    }


def write(path: Path, content: dict[str, Any] | str, *, as_json: bool = False) -> Path:
    """Write a kubeconfig and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        content = json.dumps(content) if as_json else yaml.safe_dump(content)
    path.write_text(content)
    return path


def load(tmp_path: Path, **parts: Any) -> ConnectionConfig:
    """Write and load one kubeconfig."""
    return kubeconfig.load([write(tmp_path / "config", document(**parts))])


@pytest.mark.parametrize("as_json", [True, False])
def test_yaml_and_json(tmp_path: Path, as_json: bool) -> None:
    loaded = kubeconfig.load([write(tmp_path / "config", document(user={"token": "abc"}), as_json=as_json)])
    assert loaded.server == "https://api.example:6443"
    assert loaded.user == UserConfig(token="abc")
    assert not loaded.insecure_skip_tls_verify


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ({}, UserConfig()),
        ({"token": ""}, UserConfig()),
        ({"token": "12345"}, UserConfig(token="12345")),
        ({"username": "me", "password": "pw"}, UserConfig(username="me", password="pw")),
        ({"tokenFile": "/abs/token"}, UserConfig(token_file=Path("/abs/token"))),
        (
            {
                "client-certificate-data": base64.b64encode(b"C").decode(),
                "client-key-data": base64.b64encode(b"K").decode(),
            },
            UserConfig(client_certificate=Pem(data=b"C"), client_key=Pem(data=b"K")),
        ),
    ],
)
def test_users(tmp_path: Path, user: dict[str, Any], wanted: UserConfig) -> None:
    assert load(tmp_path, user=user).user == wanted


def test_plain_scalars_are_texts_as_kubectl_reads_them(tmp_path: Path) -> None:
    text = """
current-context: 1
contexts: [{name: 1, context: {cluster: 2, user: 3}}]
clusters: [{name: 2, cluster: {server: "https://x", insecure-skip-tls-verify: true}}]
users: [{name: 3, user: {token: 42, exec: null}}]
"""
    loaded = kubeconfig.load([write(tmp_path / "config", text)])
    assert loaded.user.token == "42"
    assert loaded.insecure_skip_tls_verify is True


def test_relative_paths_belong_to_the_file_that_names_them(tmp_path: Path) -> None:
    files = {"certificate-authority": "ca.crt", "tls-server-name": "name", "proxy-url": "http://proxy:1"}
    user = {"tokenFile": "sub/token", "client-certificate": "c.crt", "client-key": "c.key"}
    first = write(tmp_path / "one" / "config", document(cluster=files, top={"users": []}))
    second = write(tmp_path / "two" / "config", document(user=user))
    loaded = kubeconfig.load([first, second])
    assert loaded.certificate_authority == Pem(file=tmp_path / "one" / "ca.crt")
    assert loaded.user.token_file == tmp_path / "two" / "sub" / "token"
    assert loaded.user.client_key == Pem(file=tmp_path / "two" / "c.key")
    assert (loaded.tls_server_name, loaded.proxy_url) == ("name", "http://proxy:1")


def test_the_first_file_to_set_a_value_wins(tmp_path: Path) -> None:
    first = document(user={"token": "first"}, top={"current-context": "", "clusters": None})
    second = document(user={"token": "second"}, cluster={"server": "https://second"}, top={"current-context": "c"})
    third = document(cluster={"server": "https://third"}, top={"current-context": "other"})
    paths = [write(tmp_path / name, content) for name, content in (("1", first), ("2", second), ("3", third))]
    loaded = kubeconfig.load([tmp_path / "missing", *paths])
    assert loaded.user.token == "first"
    assert loaded.server == "https://second"


def test_a_context_can_be_chosen(tmp_path: Path) -> None:
    content = document()
    content["contexts"].append({"name": "other", "context": {"cluster": "k2", "user": "u"}})
    content["clusters"].append({"name": "k2", "cluster": {"server": "https://other/"}})
    path = write(tmp_path / "config", content)
    assert kubeconfig.load([path], context="other").server == "https://other"


def test_data_wins_over_file(tmp_path: Path) -> None:
    data = base64.b64encode(b"inline").decode()
    loaded = load(tmp_path, cluster={"certificate-authority": "x", "certificate-authority-data": data})
    assert loaded.certificate_authority == Pem(data=b"inline")


EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "plugin", "interactiveMode": "IfAvailable"}


def test_a_credential_plugin_in_full(tmp_path: Path) -> None:
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x", "number": 5}}
    plugin = {
        **EXEC,
        "command": "./bin/plugin",
        "args": ["a", "b"],
        "env": [{"name": "A", "value": "1"}],
        "installHint": "install it",
        "provideClusterInfo": True,
    }
    loaded = load(tmp_path, cluster={"extensions": [extension]}, user={"exec": plugin}).user.exec_plugin
    assert loaded is not None
    assert Path(loaded.command) == tmp_path / "bin" / "plugin"
    assert (loaded.args, loaded.env) == (("a", "b"), (("A", "1"),))
    assert loaded.provide_cluster_info
    assert loaded.cluster_config == {"audience": "x", "number": 5}  # numbers stay numbers


@pytest.mark.parametrize("nothing", [None, []])
def test_a_credential_plugin_with_null_lists(tmp_path: Path, nothing: Any) -> None:
    loaded = load(tmp_path, user={"exec": {**EXEC, "args": nothing, "env": nothing}}).user.exec_plugin
    assert loaded is not None
    assert (loaded.command, loaded.args, loaded.env) == ("plugin", (), ())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"top": {"current-context": ""}}, "no current-context"),
        ({"top": {"current-context": "nope"}}, "no context 'nope'; there are: c"),
        ({"top": {"clusters": []}}, "no cluster 'k'"),
        ({"top": {"users": None}}, "no user 'u'"),
        ({"cluster": {"server": ""}}, "no server"),
        ({"cluster": {"certificate-authority-data": "!!"}}, "not base64"),
        ({"user": {"token": ["x"]}}, "token"),
        ({"user": {"as": "somebody"}}, "impersonation"),
        ({"user": {"auth-provider": {"name": "oidc"}}}, "auth-provider 'oidc'"),
        ({"user": {"exec": {**EXEC, "apiVersion": "client.authentication.k8s.io/v1alpha1"}}}, "v1alpha1"),
        ({"user": {"exec": {**EXEC, "interactiveMode": "Always"}}}, "terminal"),
        ({"user": {"exec": {**EXEC, "command": ""}}}, "no command"),
        ({"user": {"exec": EXEC, "token": "x"}}, "exclude each other"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(tmp_path, **parts)
    assert str(tmp_path / "config") in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "users: [{name: u, user: {token: TOPSECRET}\nbroken",
        "[TOPSECRET]",
        "a: &a [TOPSECRET, *b]",
        "\0TOPSECRET",
        "!!python/object:TOPSECRET {}",
    ],
)
def test_s11_an_error_never_quotes_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kubeconfig.load([write(tmp_path / "config", text)])
    assert "TOPSECRET" not in str(caught.value)


def test_s11_no_repr_shows_a_secret(tmp_path: Path) -> None:
    data = base64.b64encode(b"KEYDATA").decode()
    user = {"token": "TOPSECRET", "client-certificate-data": data, "client-key-data": data, "password": "TOPSECRET"}
    shown = repr(load(tmp_path, user=user))
    assert "TOPSECRET" not in shown
    assert "KEYDATA" not in shown
    assert "TOPSECRET" not in repr(kubernetes_environment({"X": "TOPSECRET"}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"server": "api.example:6443"}, "not an http"),
        ({"server": "ftp://x"}, "not an http"),
        ({"insecure_skip_tls_verify": True, "certificate_authority": Pem(data=b"x")}, "exclude each other"),
        ({"user": UserConfig(client_certificate=Pem(data=b"x"))}, "needs its key"),
        ({"proxy_url": "socks5://x"}, "proxy-url"),
    ],
)
def test_impossible_configurations_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        rest_config.checked(ConnectionConfig(**{"server": "https://x", **changed}))


# --- Which cluster ---


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    """A folder like that of a pod's service account."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("t")
    (folder / "ca.crt").write_text("ca")
    return folder


def _named(path: Path, server: str) -> Path:
    return write(path, document(cluster={"server": server}))


def test_the_order_in_which_clusters_are_looked_for(tmp_path: Path, pod: Path) -> None:
    setting = _named(tmp_path / "setting", "https://setting")
    variable = _named(tmp_path / "variable", "https://variable")
    _named(tmp_path / ".kube" / "config", "https://home")

    def found(*, setting_given: bool, variable_given: bool, host: str, context: str | None = None) -> str:
        environment = KubernetesEnvironment(
            kubeconfig=str(variable) if variable_given else None,
            home=tmp_path,
            service_host=host,
            service_account_dir=pod,
        )
        settings = ClusterSettings(kubeconfig=str(setting) if setting_given else None, kube_context=context)
        return discover(settings, environment).server

    assert found(setting_given=True, variable_given=True, host="10.0.0.1") == "https://setting"
    assert found(setting_given=False, variable_given=True, host="10.0.0.1") == "https://variable"
    assert found(setting_given=False, variable_given=False, host="10.0.0.1") == "https://10.0.0.1:443"
    assert found(setting_given=False, variable_given=False, host="10.0.0.1", context="c") == "https://home"
    assert found(setting_given=False, variable_given=False, host="") == "https://home"


def test_in_cluster(pod: Path) -> None:
    environment = KubernetesEnvironment(service_host="fd00::1", service_port="6443", service_account_dir=pod)
    found = rest_config.in_cluster(environment)
    assert found is not None
    assert found.server == "https://[fd00::1]:6443"
    assert found.user.token_file == pod / "token"
    assert found.certificate_authority == Pem(file=pod / "ca.crt")
    (pod / "token").unlink()
    assert rest_config.in_cluster(environment) is None


def test_no_cluster_at_all_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="KUBECONFIG"):
        discover(ClusterSettings(), KubernetesEnvironment(home=tmp_path, service_account_dir=tmp_path))


def test_a_kubeconfig_that_is_named_and_missing_is_an_error_and_not_passed_over(tmp_path: Path, pod: Path) -> None:
    environment = KubernetesEnvironment(
        kubeconfig=str(tmp_path / "nope"), home=tmp_path, service_host="10.0.0.1", service_account_dir=pod
    )
    with pytest.raises(ConfigurationError, match="nope"):
        discover(ClusterSettings(), environment)


def test_a_list_of_files_with_a_tilde(tmp_path: Path) -> None:
    _named(tmp_path / "a", "https://a")
    environment = KubernetesEnvironment(kubeconfig=os.pathsep.join(["", "/nope", "~/a", "~/a"]), home=tmp_path)
    assert discover(ClusterSettings(), environment).server == "https://a"


@pytest.mark.parametrize(
    ("server", "no_proxy", "proxied"),
    [
        ("https://api.example", "", True),
        ("https://api.example", "*", False),
        ("https://api.example", "other, example", False),
        ("https://api.example", ".example", False),
        ("https://api.example", "*.example", False),
        ("https://api.example", "pi.example", True),
        ("https://api.example:6443", "api.example:6443", False),
        ("https://10.96.0.1", "10.0.0.0/8", False),
        ("https://10.96.0.1", "192.168.0.0/16,10.96.0.1", False),
        ("https://10.96.0.1", "10.96.0.2", True),
        ("https://[fd00::1]:6443", "fd00::/8", False),
        ("http://api.example", "", False),
        ("https://127.0.0.1:6443", "", False),
    ],
)
def test_proxies_of_the_environment(server: str, no_proxy: str, proxied: bool) -> None:
    environment = kubernetes_environment({"HTTPS_PROXY": "proxy:3128", "NO_PROXY": no_proxy})
    assert rest_config.environment_proxy(server, environment) == ("http://proxy:3128" if proxied else None)


def test_the_environment_is_read_under_the_names_of_kubernetes() -> None:
    read = kubernetes_environment(
        {
            "KUBECONFIG": "k",
            "HOME": "/h",
            "KUBERNETES_SERVICE_HOST": "h",
            "KUBERNETES_SERVICE_PORT": "1",
            "http_proxy": "p",
        }
    )
    assert (read.kubeconfig, read.home, read.service_host, read.service_port) == ("k", Path("/h"), "h", "1")
    assert read.http_proxy == "p"
    assert kubernetes_environment({}).kubeconfig is None
