"""The URL of the database from a file, as a mounted Secret gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_job_runner import settings


def test_the_url_is_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://u:p@h/d\n")
    assert settings.load(environ={"KJR_DATABASE_URL_FILE": str(file)}).database.url == "postgresql://u:p@h/d"


def test_the_variable_itself_wins(tmp_path: Path) -> None:
    environ = {"KJR_DATABASE_URL_FILE": str(tmp_path / "absent"), "KJR_DATABASE_URL": "postgresql://h/d"}
    assert settings.load(environ=environ).database.url == "postgresql://h/d"


def test_a_file_that_is_absent_or_empty_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(settings.SettingsError, match=r"KJR_DATABASE_URL_FILE=.*cannot be read"):
        settings.load(environ={"KJR_DATABASE_URL_FILE": str(tmp_path / "absent")})
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(settings.SettingsError, match="is empty"):
        settings.load(environ={"KJR_DATABASE_URL_FILE": str(tmp_path / "empty")})


def test_its_password_is_kept_out_of_the_logs(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://u:a-long-secret@h/d")
    loaded = settings.load(environ={"KJR_DATABASE_URL_FILE": str(file)})
    assert "a-long-secret" in settings.secrets(loaded, environ={})
