"""deploy/minikube on a real API server: every object is accepted without a warning, and its pods pass Pod Security."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from testbed.cluster import Cluster
from testbed.pytest_plugin import unavailable
from tests.support.dockerfile import ROOT
from tests.support.product import wait_until

pytestmark = pytest.mark.cluster

FOLDER = ROOT / "deploy" / "minikube"
SKAFFOLD = "github.com/GoogleContainerTools/skaffold/v2@v2.16.1"
NAMESPACE = "kube-job-runner"


@pytest.fixture(scope="module")
def deployed(kube_cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The objects as `make deploy-local` creates them; by kind and name as the API server has them."""
    text = kube_cluster.kubectl("kustomize", str(FOLDER))
    done = kube_cluster.run_kubectl("apply", "--validate=strict", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    # There are warnings about namespaces that another module made with `create` too: they are not what is tested.
    warnings = [line for line in done.stderr.splitlines() if "last-applied-configuration" not in line]
    assert "Warning" not in "".join(warnings), "a field that is unknown, deprecated, or refused by Pod Security"
    objects = [document for document in yaml.safe_load_all(text) if document]
    found = {}
    for item in objects:
        kind, name = item["kind"], item["metadata"]["name"]
        place = ["-n", item["metadata"]["namespace"]] if "namespace" in item["metadata"] else []
        found[f"{kind}/{name}"] = json.loads(kube_cluster.kubectl("get", kind, name, *place, "-o", "json"))
    assert len(found) == len(objects) == 9
    return found


@pytest.mark.parametrize("workload", ["StatefulSet/postgresql", "Deployment/elasticmq"])
def test_its_pods_are_admitted_in_a_restricted_namespace(
    kube_cluster: Cluster, deployed: dict[str, dict[str, Any]], workload: str
) -> None:
    """The test bed has no controllers of Deployments and StatefulSets: the pod is made of their template."""
    labels = deployed[f"Namespace/{NAMESPACE}"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    spec = deployed[workload]["spec"]
    pod = spec["template"] | {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] |= {"name": "made-of-the-template", "namespace": NAMESPACE}
    for claim in spec.get("volumeClaimTemplates", ()):
        name = claim["metadata"]["name"]
        pod["spec"]["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
    wait_until(
        lambda: kube_cluster.run_kubectl("get", "serviceaccount", "default", "-n", NAMESPACE).returncode == 0,
        what="the namespace has its default account",
    )
    made = kube_cluster.run_kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    assert made.returncode == 0, made.stderr
    [container] = pod["spec"]["containers"]
    service = deployed[f"Service/{deployed[workload]['metadata']['name']}"]["spec"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items(), "the Service finds the pod"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert service["ports"][0]["port"] == ports[service["ports"][0]["targetPort"]]

    del container["securityContext"]["capabilities"]
    refused = kube_cluster.run_kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    assert "violates PodSecurity" in refused.stderr, "Pod Security is at work here"


def test_applied_again_it_restarts_nothing(kube_cluster: Cluster, deployed: dict[str, dict[str, Any]]) -> None:
    kube_cluster.kubectl("apply", "-k", str(FOLDER))
    for workload in ("StatefulSet/postgresql", "Deployment/elasticmq"):
        now = json.loads(kube_cluster.kubectl("get", workload, "-n", NAMESPACE, "-o", "json"))
        assert now["metadata"]["uid"] == deployed[workload]["metadata"]["uid"]
        assert now["metadata"]["generation"] == deployed[workload]["metadata"]["generation"]


def test_the_values_of_the_chart_name_what_is_there(deployed: dict[str, dict[str, Any]]) -> None:
    values = yaml.safe_load((FOLDER / "values.yaml").read_text())
    for name in values["jobNamespaces"]:
        assert f"Namespace/{name}" in deployed
    secret = values["database"]["existingSecret"]
    url = deployed[f"Secret/{secret['name']}"]["data"]
    assert secret["urlKey"] in url
    sqs = values["queue"]["sqs"]
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(
        deployed[f"Secret/{sqs['existingSecret']['name']}"]["data"]
    )
    port = deployed["Service/elasticmq"]["spec"]["ports"][0]["port"]
    queues = (FOLDER / "elasticmq.conf").read_text()
    assert sqs["url"].startswith(f"{sqs['endpoint']}/")
    name = sqs["url"].rpartition("/")[2]
    assert f"\n  {name} {{" in queues
    assert f"\n  {name}-dead {{" in queues
    assert sqs["endpoint"] == f"http://elasticmq:{port}"


def test_the_url_of_the_database_says_what_its_server_is_told(deployed: dict[str, dict[str, Any]]) -> None:
    import base64

    data = {
        key: base64.b64decode(value).decode()
        for key, value in deployed["Secret/kube-job-runner-database"]["data"].items()
    }
    [container] = deployed["StatefulSet/postgresql"]["spec"]["template"]["spec"]["containers"]
    settings = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert (
        data["url"]
        == f"postgresql://{settings['POSTGRES_USER']}:{data['password']}@postgresql:5432/{settings['POSTGRES_DB']}"
    )


def test_skaffold_yaml_fits_skaffolds_own_schema_and_names_what_is_there(kube_programs: None) -> None:
    """Skaffold itself cannot be had here as a program; its Go module holds the schema of its files."""
    if shutil.which("go") is None:
        unavailable("Go is not installed")
    done = subprocess.run(
        ["go", "mod", "download", "-json", SKAFFOLD], capture_output=True, text=True, timeout=110, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    configs = list(yaml.safe_load_all((ROOT / "skaffold.yaml").read_text()))
    version = configs[0]["apiVersion"].partition("/")[2]
    schemas = Path(json.loads(done.stdout)["Dir"]) / "docs-v2" / "content" / "en" / "schemas"
    schema = json.loads((schemas / f"{version}.json").read_text())
    for config in configs:
        jsonschema.validate(config, schema)
    surroundings, product = configs
    assert product["requires"] == [{"configs": [surroundings["metadata"]["name"]]}]
    assert surroundings["manifests"]["kustomize"]["paths"] == [os.path.relpath(FOLDER, ROOT)]
    [release] = product["deploy"]["helm"]["releases"]
    assert release["valuesFiles"] == [os.path.relpath(FOLDER / "values.yaml", ROOT)]
    [artifact] = product["build"]["artifacts"]
    assert yaml.safe_load((FOLDER / "values.yaml").read_text())["image"]["repository"] == artifact["image"]
    assert (ROOT / artifact["docker"]["dockerfile"]).is_file()


def test_it_can_be_taken_away_again(kube_cluster: Cluster, deployed: dict[str, dict[str, Any]]) -> None:
    kube_cluster.kubectl("delete", "-k", str(FOLDER), "--ignore-not-found", "--wait=false")
    answer = kube_cluster.kubectl("get", "statefulset,deployment,service", "-n", NAMESPACE, "-o", "json")
    left = {f"{item['kind']}/{item['metadata']['name']}" for item in json.loads(answer)["items"]}
    assert left & deployed.keys() == set()
