"""compose.yaml: it is valid, starts commands that `kjr` has, and listens on this machine only."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from kube_job_runner.cli import main
from tests.support import dockerfile
from tests.support.dockerfile import ROOT

FILE = ROOT / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_it_fits_the_compose_specification() -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run([checker, "--builtin-schema", "vendor.compose-spec", FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_command_is_one_that_kjr_knows() -> None:
    assert OURS
    for service in OURS.values():
        check = service["healthcheck"]["test"]
        assert check[:2] == ["CMD", "kjr"]
        for command in (service["command"], check[2:]):
            name, *arguments = command
            found = main.cli.get_command(click.Context(main.cli), name)
            assert found is not None, f"kjr {name}"
            found.make_context(name, list(arguments), obj=None)  # raises for an option that there is not


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_tells_its_health_and_has_no_right_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "pid"} & set(service)


def test_only_the_api_is_published_and_only_on_loopback() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"server": ["127.0.0.1:${KJR_PORT:-8080}:8080"]}
    assert dockerfile.read(ROOT / "Dockerfile").stages[-1].environment()["KJR_PORT"] == "8080"


def test_the_server_starts_when_what_it_needs_is_well() -> None:
    needs = SERVICES["server"]["depends_on"]
    assert needs["postgres"] == {"condition": "service_healthy"}
    assert needs["elasticmq"] == {"condition": "service_healthy", "required": False}, "it is there only in its profile"
    assert SERVICES["elasticmq"]["profiles"] == ["sqs"]


def test_the_server_writes_only_where_the_image_has_a_folder_for_it() -> None:
    server = SERVICES["server"]
    assert server["read_only"] is True
    state = dockerfile.read(ROOT / "Dockerfile").stages[-1].environment()["KJR_DATA_DIR"]
    assert server["volumes"] == [f"state:{state}"]


def test_what_it_mounts_is_there_and_what_it_names_has_an_image_with_a_tag() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file(), source
        assert re.search(r":[\w.-]+\}?$", service["image"])
        assert not service["image"].endswith("latest")


def test_the_commands_of_its_comments_name_its_profiles_and_queue() -> None:
    text = FILE.read_text()
    [command] = re.findall(r"^#   (KJR_QUEUE=.*)$", text, re.MULTILINE)
    words = shlex.split(command)
    url = words[0].partition("=")[2]
    assert url.startswith("http://elasticmq:9324/"), "the service's name and port"
    assert url.rpartition("/")[2] in (ROOT / "deploy" / "minikube" / "elasticmq.conf").read_text()
    assert words[words.index("--profile") + 1] in SERVICES["elasticmq"]["profiles"]
