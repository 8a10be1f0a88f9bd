"""The file of an installation's own failure rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from kube_job_runner import settings
from kube_job_runner.bootstrap import rules
from kube_job_runner.domain import failures
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.domain.limits import Graces

YAML = """
- pattern: out of licen[cs]es
  verdict: application
  category: licence_missing
"""


def test_without_a_file_the_table_is_the_built_in_one() -> None:
    assert rules.load(None) is failures.TABLE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rules.yaml", YAML),
        (
            "rules.json",
            json.dumps([{"pattern": "out of lic", "verdict": "application", "category": "licence_missing"}]),
        ),
    ],
)
def test_yaml_and_json_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = rules.load(tmp_path / name).classify("container.terminated", "Error", "Out of licences", exit_code=1)
    assert found is not None
    assert (found.reason, found.verdict) == ("LicenceMissing", "application")
    assert rules.load(tmp_path / name).classify("container.waiting", "InvalidImageName", "x") is not None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rules.yaml", b"- [", "is not YAML"),
        ("rules.json", b"{", "Expecting"),
        ("rules.yaml", b"\xff\xfe", "utf-8"),
        ("rules.yaml", b"- pattern: x\n  verdict: maybe", "failure rule 0: verdict: 'maybe' is not one"),
        ("rules.yaml", b"# " + b"x" * rules.FILE_MAX_BYTES, "larger than 1048576 bytes"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=said) as caught:
        rules.load(tmp_path / name)
    assert str(caught.value).startswith(f"KJR_FAILURE_RULES: {tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--rules: .*No such file"):
        rules.load(tmp_path / "none.yaml", named="--rules")


def test_every_class_of_grace_is_a_setting_with_the_table_s_own_default() -> None:
    assert msgspec.structs.asdict(settings.Settings().graces) == {
        name: seconds for name, seconds in failures.GRACES_SECONDS.items() if name
    }
    assert {"", *Graces.__struct_fields__} == set(get_args(failures.Grace))


def test_the_graces_of_the_settings_decide() -> None:
    configured = settings.load(environ={"KJR_IMAGE_GRACE_SECONDS": "7", "KJR_FAILURE_RULES": "~/rules.yaml"})
    assert configured.process.failure_rules == Path("~/rules.yaml").expanduser()
    decided = Rules(graces=msgspec.structs.asdict(configured.graces))
    by_name = {rule.name: rule for rule in failures.RULES}
    assert decided.grace_seconds(by_name["pull-not-found"]) == 7.0
    assert decided.grace_seconds(by_name["config-missing"]) == 60.0
    assert decided.grace_seconds(by_name["image-name-invalid"]) == 0.0
    assert Rules(graces={}).grace_seconds(by_name["mount-fault"]) == 600.0
