"""The rendered configuration of the components, and how their answers are parsed. No process is started here."""

import dataclasses
import io
import json
import os
import re
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import apiclient, config, images, manifests, nodeconfig


def layout(profile: str = "raised", *, audit: bool = False, pod_logs: bool = False) -> config.Layout:
    ports = {name: 20_000 + number for number, name in enumerate(config.PORT_NAMES)}
    return config.Layout(Path("/run/x"), Path("/bin/x"), ports, config.PROFILES[profile], audit, pod_logs)


def flags(component: str, profile: str = "raised", *, audit: bool = False) -> dict[str, str]:
    argv = config.commands(layout(profile, audit=audit))[component]
    pairs = (argument.removeprefix("--").partition("=") for argument in argv[1:])
    return {name: value for name, _, value in pairs}


def test_simulated_nodes_serve_logs_only_when_asked_to() -> None:
    documents = list(yaml.safe_load_all(config.kwok_config(layout(pod_logs=True))))
    assert documents[-1]["spec"]["logs"] == [{"logsFile": "/run/x/pod.log"}]
    assert documents[0]["options"]["enableDebuggingHandlers"] is True
    assert "ClusterLogs" not in config.kwok_config(layout())
    node = manifests.node("n", kubelet_port=7)
    assert node["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 7}}
    assert "addresses" not in manifests.node("n")["status"]


class TestCommands:
    def test_the_store_is_started_first_and_the_nodes_last(self) -> None:
        assert tuple(config.commands(layout())) == config.COMPONENTS
        assert config.COMPONENTS[:2] == ("etcd", "kube-apiserver")

    @pytest.mark.parametrize("component", config.COMPONENTS)
    def test_no_component_listens_beyond_loopback(self, component: str) -> None:
        text = " ".join(config.commands(layout())[component])
        addresses = re.findall(r"\d+\.\d+\.\d+\.\d+", text)
        assert set(addresses) <= {"127.0.0.1", "203.0.113.0"}
        assert "127.0.0.1" in addresses

    def test_every_port_is_used_once(self) -> None:
        text = "\n".join(" ".join(argv) for argv in config.commands(layout()).values())
        for port in layout().ports.values():
            assert str(port) in text

    def test_the_default_profile_shows_upstreams_limits(self) -> None:
        assert "kube-api-qps" not in flags("kube-controller-manager", "default")
        assert "qps" not in json.loads(config.scheduler_config(layout("default")))["clientConnection"]
        assert flags("kube-controller-manager", "raised")["kube-api-qps"] == "1000"
        assert json.loads(config.scheduler_config(layout("raised")))["clientConnection"]["qps"] == 1000

    def test_only_the_floor_profile_switches_flow_control_off(self) -> None:
        switches = {name: flags("kube-apiserver", name).get("enable-priority-and-fairness") for name in config.PROFILES}
        assert switches == {"default": None, "raised": None, "floor": "false"}

    def test_the_audit_log_is_optional_and_loses_nothing(self) -> None:
        assert not [name for name in flags("kube-apiserver") if name.startswith("audit")]
        assert flags("kube-apiserver", audit=True)["audit-log-mode"] == "blocking"


class TestUsers:
    def test_the_token_file_has_a_line_for_each(self) -> None:
        tokens = {user: f"secret-{user}" for user in config.USERS}
        lines = config.token_file(tokens).splitlines()
        assert 'secret-admin,admin,admin,"system:masters"' in lines
        assert "secret-kjr,kjr,kjr" in lines, "no group: it has no right that a test did not give it"
        assert len(lines) == len(config.USERS)

    def test_a_kubeconfig_names_server_ca_and_token(self) -> None:
        parsed = yaml.safe_load(config.kubeconfig(layout(), "admin", "secret"))
        (entry,) = parsed["clusters"]
        assert entry["cluster"]["server"] == layout().url
        assert entry["cluster"]["certificate-authority"] == "/run/x/pki/apiserver.crt"
        assert parsed["users"][0]["user"] == {"token": "secret"}

    def test_the_audit_policy_asks_for_metadata_only_and_ends_with_silence(self) -> None:
        rules = json.loads(config.audit_policy())["rules"]
        assert {rule["level"] for rule in rules} == {"None", "Metadata"}
        assert rules[-1] == {"level": "None"}


class TestStages:
    def stages(self) -> list[dict[str, Any]]:
        documents = list(yaml.safe_load_all(config.KWOK_CONFIG.read_text()))
        return [document for document in documents if document["kind"] == "Stage"]

    def test_every_annotation_in_use_is_explained_at_the_top(self) -> None:
        text = config.KWOK_CONFIG.read_text()
        head, _, body = text.partition("apiVersion:")
        used = set(re.findall(r"kjr\.test/[a-z-]+", body))
        assert used == set(re.findall(r"kjr\.test/[a-z-]+", head))

    def test_names_differ(self) -> None:
        names = [stage["metadata"]["name"] for stage in self.stages()]
        assert len(names) == len(set(names))


class TestManifests:
    @pytest.mark.parametrize(
        ("ready", "taint", "usable"),
        [
            ("True", None, True),
            ("False", None, False),
            ("True", "node.kubernetes.io/not-ready", False),
            ("True", manifests.REAL_NODE_KEY, True),
        ],
    )
    def test_a_node_is_usable_when_ready_and_not_tainted_by_the_cluster(
        self, ready: str, taint: str | None, usable: bool
    ) -> None:
        node = {
            "spec": {"taints": [{"key": taint}]} if taint else {},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }
        assert manifests.is_usable(node) is usable

    def test_a_job_carries_its_script_on_the_pod_template(self) -> None:
        job = manifests.job("j", script={"run": "2s"}, pod={"nodeName": "n"}, ttlSecondsAfterFinished=5)
        assert job["spec"]["template"]["metadata"]["annotations"] == {"kjr.test/run": "2s"}
        assert job["spec"]["template"]["spec"]["nodeName"] == "n"
        assert job["spec"]["ttlSecondsAfterFinished"] == 5


class TestMetrics:
    def test_labels_may_hold_brackets_and_escaped_quotes(self) -> None:
        text = '# HELP a b\n# TYPE a counter\na{path="/{x}",say="\\"hi\\""} 3\nb 1.5e+03\nc_bucket{le="+Inf"} 2\n'
        samples = list(apiclient.parse_metrics(text))
        assert [(sample.name, sample.value) for sample in samples] == [("a", 3), ("b", 1500), ("c_bucket", 2)]
        assert samples[0].labels == {"path": "/{x}", "say": '\\"hi\\"'}


class TestWaiting:
    def test_a_refused_connection_is_not_yet(self) -> None:
        answers: Iterator[OSError | bool] = iter([ConnectionRefusedError(), False, True])

        def check() -> bool:
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return answer

        apiclient.wait_until("it", check, limit_seconds=5)

    def test_it_ends_with_what_was_waited_for(self) -> None:
        with pytest.raises(apiclient.NotReadyError, match=r"^the moon: not ready after 0 s$"):
            apiclient.wait_until("the moon", lambda: False, limit_seconds=0)

    def test_it_ends_early_when_the_other_side_has_died(self) -> None:
        def died() -> None:
            raise apiclient.NotReadyError("etcd has died")

        with pytest.raises(apiclient.NotReadyError, match="etcd has died"):
            apiclient.wait_until("etcd", lambda: True, limit_seconds=5, alive=died)


class TestNode:
    def test_kubelet_is_open_only_on_loopback(self) -> None:
        rendered = json.loads(nodeconfig.kubelet(Path("/n"), port=20001, settings={"maxPods": 7}))
        assert rendered["address"] == "127.0.0.1"
        assert rendered["containerRuntimeEndpoint"] == "unix:///n/containerd.sock"

    def test_everything_of_containerd_is_below_its_folder(self) -> None:
        text = nodeconfig.containerd_toml(Path("/n"), cni_bin_dir=Path("/cni"), snapshotter="native")
        rendered = tomllib.loads(text)
        assert (rendered["root"], rendered["state"]) == ("/n/root", "/n/state")
        assert rendered["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["snapshotter"] == "native"


def test_an_image_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    fill: Callable[[images.LayerWriter], None] = lambda layer: layer.file("bin/x", b"x")  # noqa: E731
    for name in ("a.tar", "b.tar"):
        images.write(tmp_path / name, "localhost/x:1", fill, {"Cmd": ["x"]})
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        manifest_file = archive.extractfile("manifest.json")
        assert manifest_file is not None
        (manifest,) = json.load(manifest_file)
        assert manifest["RepoTags"] == ["localhost/x:1"]
        layer_file = archive.extractfile(manifest["Layers"][0])
        assert layer_file is not None
        with tarfile.open(fileobj=io.BytesIO(layer_file.read())) as layer:
            assert layer.getnames() == ["bin/x"]


def test_deployments_get_pods_only_when_asked_to() -> None:
    made = dataclasses.replace(layout(), workloads=True)
    (controllers,) = [flag for flag in config.commands(made)["kube-controller-manager"] if "--controllers=" in flag]
    assert {"deployment-controller", "replicaset-controller"} <= set(controllers.partition("=")[2].split(","))
    assert "deployment-controller" not in " ".join(config.commands(layout())["kube-controller-manager"])


def test_pods_reach_the_machine_only_when_asked_to() -> None:
    def ipam(**reaches: str) -> dict[str, Any]:
        (plugin,) = json.loads(nodeconfig.network(Path("/n"), **reaches))["plugins"]
        assert plugin["isGateway"] is False
        found: dict[str, Any] = plugin["ipam"]
        return found

    assert "routes" not in ipam()
    assert ipam(reaches="203.0.113.0/24")["routes"] == [{"dst": "203.0.113.0/24", "gw": nodeconfig.GATEWAY}]


def test_a_folder_in_an_image_is_roots_and_keeps_its_times(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("kept", "left"):
        (folder / name).write_text(name)
        os.utime(folder / name, (1, 1))
    images.write(tmp_path / "i.tar", "x:1", lambda layer: layer.tree("opt/a", folder, lambda p: p.name != "left"), {})
    with tarfile.open(tmp_path / "i.tar") as archive:
        packed = archive.extractfile("layer.tar")
        assert packed is not None
        with tarfile.open(fileobj=io.BytesIO(packed.read())) as layer:
            members = layer.getmembers()
    assert [member.name for member in members] == ["opt/a", "opt/a/kept"]
    assert [(member.uid, member.uname, member.mtime) for member in members[1:]] == [(0, "", 1)]
