"""Settings: read from the environment once, wrong ones named, and the reference page made from the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_job_runner import settings
from kube_job_runner.cli.commands import config

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


def page() -> str:
    """Return the reference page as it must be; write it with `python -m tests.unit.settings.test_variables`."""
    lines = [
        "# Settings",
        "",
        "Every setting of the server is an environment variable. A flag of `kjr up` or `kjr serve` wins over it. Unknown `KJR_`",
        "variables are warned about at start. `kjr config` prints this list with the values in force.",
        "Traces have OpenTelemetry's own variables (`OTEL_*`): [trace jobs](../how-to/trace.md).",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for entry in config.reference():
        meaning = " ".join(str(entry["meaning"]).split()).replace("|", "\\|")
        lines.append(f"| `{entry['name']}` | {entry['default']} | {meaning} |")
    return "\n".join(lines) + "\n"


def test_the_reference_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == page()


def test_every_setting_has_a_meaning() -> None:
    assert all(entry["meaning"] for entry in config.reference())


def test_values_are_read_as_their_types() -> None:
    found = settings.load(environ={"KJR_PORT": "99", "KJR_NAMESPACES": "a, b", "KJR_SWEEP_SECONDS": "0.5"})
    assert (found.web.port, found.specs.namespaces, found.sweep.sweep_seconds) == (99, ("a", "b"), 0.5)


def test_limits_of_queues_are_read_as_pairs() -> None:
    found = settings.load(environ={"KJR_QUEUE_LIMITS": "etl=10, gpu = 0", "KJR_QUEUE_MAX_IN_FLIGHT": "7"})
    assert (found.admission.queues, found.admission.per_queue) == ({"etl": 10, "gpu": 0}, 7)
    assert settings.load(environ={}).admission.queues == {}
    with pytest.raises(settings.SettingsError, match="'etl' must be a queue and its limit, such as etl=10"):
        settings.load(environ={"KJR_QUEUE_LIMITS": "gpu=1,etl"})
    with pytest.raises(settings.SettingsError, match="queue etl is named twice"):
        settings.load(environ={"KJR_QUEUE_LIMITS": "etl=1,etl=2"})


def test_namespaces_are_names() -> None:
    for wrong in ("*", "Upper", "a,b c", "-a", "a" * 64):
        with pytest.raises(settings.SettingsError, match=r"KJR_NAMESPACES: .* is no name of a namespace"):
            settings.load(environ={"KJR_NAMESPACES": wrong})
    with pytest.raises(settings.SettingsError, match="at least one"):
        settings.load(environ={"KJR_NAMESPACES": " , "})


def test_a_flag_wins_over_the_environment() -> None:
    assert settings.load({"port": 1, "host": None}, environ={"KJR_PORT": "2"}).web.port == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KJR_PORT", "eighty"),
        ("KJR_PORT", "70000"),
        ("KJR_CLUSTER", "mesos"),
        ("KJR_INSTANCE", "Not A Label"),
        ("KJR_NAMESPACES", ","),
        ("KJR_LEASE_SECONDS", "0"),
        ("KJR_BATCH_SIZE", "1001"),
        ("KJR_QUEUE_LIMITS", "etl"),
        ("KJR_QUEUE_LIMITS", "etl=-1"),
        ("KJR_QUEUE_LIMITS", "etl=ten"),
        ("KJR_QUEUE_LIMITS", "Etl=1"),
        ("KJR_QUEUE_LIMITS", "etl=1,,gpu=2"),
        ("KJR_QUEUE_LIMITS", "etl=1,etl=2"),
        ("KJR_QUEUE_MAX_IN_FLIGHT", "0"),
        ("KJR_MAX_IN_FLIGHT", "0"),
    ],
)
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(settings.SettingsError, match=name):
        settings.load(environ={name: value})


def test_unknown_variables_are_found() -> None:
    environ = {"KJR_PORT": "1", "KJR_PROT": "1", "KJR_SERVER": "x", "PATH": "/bin"}
    assert settings.unknown_variables(environ) == ["KJR_PROT"]


def test_a_typing_error_is_answered_with_what_was_meant() -> None:
    assert settings.suggestion("KJR_PROT") == " (did you mean KJR_PORT?)"
    assert settings.suggestion("KJR_WHATEVER_ELSE") == ""


def test_settings_are_shown_without_credentials() -> None:
    found = settings.load(environ={"KJR_DATABASE_URL": "postgresql://kjr:pa55word@db/kjr", "KJR_NAMESPACES": "a,b"})
    assert settings.changed(found) == {"KJR_DATABASE_URL": "postgresql://***@db/kjr", "KJR_NAMESPACES": "a,b"}
    everything = settings.shown(settings.load(environ={"KJR_QUEUE_LIMITS": "etl=1,gpu=2"}))
    assert (everything["KJR_QUEUE_LIMITS"], everything["KJR_DATABASE_URL"]) == ("etl=1,gpu=2", "")


if __name__ == "__main__":
    PAGE.write_text(page())
