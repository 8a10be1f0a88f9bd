"""Whatever the spelling of the database's URL, its password is in no output, and the driver connects with it."""

from __future__ import annotations

import traceback
from typing import Any
from urllib.parse import quote

import pytest
from asyncpg import connect_utils
from hypothesis import example, given
from hypothesis import strategies as st

from kube_job_runner import settings
from kube_job_runner.settings import database_url
from kube_job_runner.telemetry.loggers import Cleaner


def meant(url: str) -> tuple[Any, ...]:
    """Return host, port, database, user and password as the driver reads them."""
    addresses, parameters = connect_utils._parse_connect_dsn_and_args(  # type: ignore[attr-defined]
        dsn=url, host=None, port=None, user=None, password=None, passfile=None, database=None, ssl=None, service=None,
        servicefile=None, direct_tls=None, server_settings=None, target_session_attrs=None, krbsrvname=None, gsslib=None,
    )  # fmt: skip
    (host, port) = addresses[0]
    return host, port, parameters.database, parameters.user, parameters.password


def in_pairs(value: str) -> str:
    """Quote a value for libpq's `key=value` form."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


PASSWORDS = st.text(
    st.one_of(st.sampled_from("@/:#?&=[]'\"\\ %+$!äß"), st.characters(min_codepoint=33, max_codepoint=126)),
    min_size=5,
    max_size=20,
).map(lambda text: f"Zq7{text}Xj9")
"""Long enough to be told from other words, with every character that means something in a URL."""

SPELLINGS = {
    "percent-encoded": lambda password: f"postgresql://kjr:{quote(password, safe='')}@db.example:6432/jobs",
    "in the query": lambda password: f"postgresql://kjr@db.example:6432/jobs?password={quote(password, safe='')}",
    "with other options": lambda password: (
        f"postgres://kjr@db.example:6432/jobs?sslmode=prefer&password={quote(password, safe='')}&application_name=a@b"
    ),
    "key=value": lambda password: f"host=db.example port=6432 dbname=jobs user=kjr password={in_pairs(password)}",
    "key = value, in another order": lambda password: (
        f"password = {in_pairs(password)}  user = 'kjr' dbname=jobs\nhost=db.example port='6432'"
    ),
}


def outputs(environ: dict[str, str]) -> list[str]:
    """Return all texts that a process makes of its settings."""
    loaded = settings.load(environ=environ)
    shown = [*settings.shown(loaded).values(), *settings.changed(loaded).values()]
    return [
        *shown,
        repr(loaded),
        repr(loaded.database.url),
        settings.shown_text("KJR_DATABASE_URL", environ["KJR_DATABASE_URL"]),
    ]


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
@given(password=PASSWORDS)
def test_a_password_in_a_proper_spelling_is_used_and_never_shown(spelling: Any, password: str) -> None:
    environ = {"KJR_DATABASE_URL": spelling(password)}
    loaded = settings.load(environ=environ)
    assert loaded.database.url is not None
    assert meant(loaded.database.url) == ("db.example", 6432, "jobs", "kjr", password)
    for text in outputs(environ):
        assert password not in text
        assert quote(password, safe="") not in text
    assert settings.shown(loaded)["KJR_DATABASE_URL"] == "postgresql://***@db.example:6432/jobs"
    clean = Cleaner(settings.secrets(loaded, environ)).text
    for written in (password, quote(password, safe=""), loaded.database.url, repr({"password": password})):
        cleaned = clean(f"error: {written!s} failed")
        assert password not in cleaned
        assert quote(password, safe="") not in cleaned


@given(password=PASSWORDS.filter(lambda text: "%" not in text))
def test_a_password_with_its_characters_as_they_are_is_used_or_refused_and_never_shown(password: str) -> None:
    environ = {"KJR_DATABASE_URL": f"postgresql://kjr:{password}@db.example:6432/jobs"}
    try:
        loaded = settings.load(environ=environ)
    except settings.SettingsError as error:
        said = [
            str(error),
            "".join(traceback.format_exception(error)),
            settings.shown_text("KJR_DATABASE_URL", environ["KJR_DATABASE_URL"]),
        ]
        assert not any(part in text for text in said for part in (password, "Zq7", "Xj9"))
        return
    assert loaded.database.url is not None
    assert meant(loaded.database.url) == ("db.example", 6432, "jobs", "kjr", password)
    assert not any(part in text for text in outputs(environ) for part in ("Zq7", "Xj9"))


@given(password=PASSWORDS)
@example(password="Zq7000&@Xj9")
@example(password="Zq7000#@Xj9")
@example(password="Zq7?password=&@Xj9")
def test_a_password_in_the_query_as_it_is_is_never_shown(password: str) -> None:
    environ = {"KJR_DATABASE_URL": f"postgresql://kjr@db.example/jobs?password={password}"}
    try:
        said = outputs(environ)
    except settings.SettingsError as error:
        said = [str(error)]
    assert not any(part in text for text in said for part in ("Zq7", "Xj9"))


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:p@h/d", "postgresql://***@h/d"),
        ("postgres://h1:1,h2:2/d?sslmode=require", "postgresql://h1:1,h2:2/d?sslmode=require", "postgresql://h1:1,h2:2/d"),
        ("postgresql://u:a@b/c:d@h:5/d", "postgresql://u:a%40b%2Fc%3Ad@h:5/d", "postgresql://***@h:5/d"),
        ("postgresql://u:p?x=1@h/d", "postgresql://u:p%3Fx%3D1@h/d", "postgresql://***@h/d"),
        ("postgresql://u:p@[::1]:5432/d", "postgresql://u:p@[::1]:5432/d", "postgresql://***@[::1]:5432/d"),
        ("postgresql:///d?host=/run/pg&port=5433", "postgresql:///d?host=/run/pg&port=5433", "postgresql:///run/pg:5433/d"),
        ("host=/run/pg dbname=d", "postgresql:///d?host=%2Frun%2Fpg", "postgresql:///run/pg/d"),
        ("host=h user=u sslmode=require", "postgresql://u@h?sslmode=require", "postgresql://***@h"),
    ],
)  # fmt: skip
def test_what_is_read_and_shown(text: str, url: str, shown: str) -> None:
    found = database_url.read(text)
    assert (str(found), found.shown) == (url, shown)


@pytest.mark.parametrize(
    "text",
    [
        "Zq7secret", "mysql://u:Zq7@h/d", "postgresql://u:Zq7#x", "postgresql://h:Zq7/d", "postgresql://u@h:70000/Zq7",
        "postgresql://u@h/d?password=Zq7&x", "postgresql://u@h/d?password=x&@Zq7", "postgresql://h/d?user=u&password=x&@Zq7",
        "postgresql://u:a/b@h/d?password=x@Zq7", "postgresql://u:a/b?password=x@Zq7", "postgresql://u:123?user=x@Zq7/d",
        "host=h password='Zq7", "host=h password=Zq7 x", "hostaddr=1.2.3.4 password=Zq7",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.load(environ={"KJR_DATABASE_URL": text})
    assert "Zq7" not in "".join(traceback.format_exception(caught.value))
    assert settings.shown_text("KJR_DATABASE_URL", text) == "(cannot be read)"
    assert text in settings.environment_secrets({"KJR_DATABASE_URL": text})


def test_sslpassword_is_a_secret_too() -> None:
    environ = {"KJR_DATABASE_URL": "postgresql://u@h/d?sslpassword=Zq7%20long&sslkey=/k"}
    assert not any("Zq7" in text for text in outputs(environ))
    assert {"Zq7%20long", "Zq7 long"} <= settings.secrets(settings.load(environ=environ), environ)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://key:se/cr@et@sqs.example/1/q", "https://***@sqs.example/1/q"),
        ("https://sqs.example/1/q?X-Token=abc", "https://sqs.example/1/q?***"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("plain@text", "plain@text"),
    ],
)
def test_other_addresses_are_shown_without_credentials(text: str, shown: str) -> None:
    assert settings.masked(text) == shown
