"""The URL of the database, in every spelling that people use: read once, shown without its secrets.

The driver takes `postgresql://user:password@host:port/name?options` with percent-encoding. People also write special
characters as they are, put the password into the options, or use libpq's `key=value` form. All of these are read here and
written in the driver's form, so that neither we nor the driver ever takes a piece of a password for a host, a port or a name.

Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, urlencode

_SCHEME = re.compile(r"(?:postgres|postgresql)://", re.IGNORECASE)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%\w]+\]|[\w.%~-]*)(?::(\d{1,5})?)?", re.ASCII)
_KEY = re.compile(r"[a-z_][a-z0-9_.]*", re.IGNORECASE)
_PAIR = re.compile(
    r"\s*([a-z_]\w*)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)", re.IGNORECASE | re.DOTALL
)
_SECRET_KEYS = frozenset({"password", "sslpassword"})
_MAY_HOLD_AT = _SECRET_KEYS | {"user", "application_name", "options", "passfile", "sslcert", "sslkey", "sslrootcert"}
_IN_PLACE = frozenset({"user", "password", "host", "port", "dbname", "database"})


class DatabaseUrl(str):
    """The URL in the driver's form. Its repr, which tracebacks and logs show, has host, port and database only."""

    __slots__ = ("secrets", "shown")
    secrets: frozenset[str]
    """The secrets in it, as they were written, as they are meant, and percent-encoded."""
    shown: str
    """The URL for people: host, port and database."""

    def __repr__(self) -> str:
        return repr(self.shown)


def read(text: str) -> DatabaseUrl:
    """Return the URL that a text means.

    Raises:
        ValueError: it has no form that we know. The message quotes nothing of it.
    """
    text = text.strip()
    scheme = _SCHEME.match(text)
    if scheme:
        return _of_url(text[scheme.end() :])
    if "://" not in text and "=" in text:
        return _of_pairs(text)
    raise ValueError("must be postgresql://user:password@host:port/name, or libpq's `key=value` form")


def _of_url(rest: str) -> DatabaseUrl:
    found = _split(rest)
    if found is None and "@" in rest:  # a special character in the password: the last @ ends it
        credentials, _, place = rest.rpartition("@")
        found = None if _has_a_query(credentials) else _split(place)
        found = None if found is None or found[0] is not None else (credentials, *found[1:])
    if found is None:
        raise ValueError(
            "cannot be read as postgresql://user:password@host:port/name; write special characters with percent signs"
            " (%40 for @, %2F for /, %3A for :, %23 for #, %26 for &)"
        )
    credentials_or_none, hosts, path, query = found
    user, _, password = (credentials_or_none or "").partition(":")
    return _made(user=unquote(user), password=unquote(password), hosts=hosts, path=path, query=query, raw=(password,))


def _has_a_query(credentials: str) -> bool:
    """Return whether what stands before the last @ may be a URL with options, so that the @ may be in a password there."""
    place, mark, query = credentials.partition("?")
    keys = {part.partition("=")[0].lower() for part in re.split("[?&#]", query)}
    return bool(mark) and ("@" in place or _split(place) is not None or bool(keys & _SECRET_KEYS))


def _split(rest: str) -> tuple[str | None, str, str, str] | None:
    """Return credentials (None: none are given), hosts, path and query of what follows `://`; None: it is no proper URL."""
    place, mark, query = rest.partition("?")
    netloc, slash, path = place.partition("/")
    credentials, at, hosts = netloc.rpartition("@")
    if "#" in rest or "@" in path or "@" in credentials or not _are_hosts(hosts):
        return None
    if not at and ":" in hosts and "@" in query:
        return None  # the port may be the beginning of a password
    if mark and query and not all(_is_option(pair) for pair in query.split("&")):
        return None
    return credentials if at else None, hosts, slash + path, query


def _are_hosts(text: str) -> bool:
    for host in text.split(","):
        match = _HOST.fullmatch(host)
        if match is None or not 0 < int(match[1] or 1) < 65536:
            return False
    return True


def _is_option(pair: str) -> bool:
    key, equals, value = pair.partition("=")
    return bool(equals) and _KEY.fullmatch(key) is not None and ("@" not in value or key.lower() in _MAY_HOLD_AT)


def _of_pairs(text: str) -> DatabaseUrl:
    """Read libpq's form: `host=db password='it''s \\'quoted\\''`."""
    given: dict[str, str] = {}
    end = 0
    while text[end:].strip():
        match = _PAIR.match(text, end)
        if match is None:
            raise ValueError(
                "cannot be read as libpq's `key=value` form; quote a value with special characters: key='value'"
            )
        end = match.end()
        quoted = match[2] if match[2] is not None else match[3]
        given[match[1].lower()] = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
    if "hostaddr" in given:
        raise ValueError("has hostaddr, which the driver does not know; use host")
    options = {key: value for key, value in given.items() if key not in _IN_PLACE}
    host, port = given.get("host", ""), given.get("port", "")
    hosts = f"{host}:{port}" if port and host else host
    if not host or not _are_hosts(hosts):
        hosts = ""
        options |= {key: value for key, value in (("host", host), ("port", port)) if value}
    name = given.get("dbname") or given.get("database") or ""
    return _made(
        user=given.get("user", ""),
        password=given.get("password", ""),
        hosts=hosts,
        path=f"/{quote(name, safe='')}" if name else "",
        query=urlencode(options),
    )


def _made(*, user: str, password: str, hosts: str, path: str, query: str, raw: tuple[str, ...] = ()) -> DatabaseUrl:
    credentials = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    found = DatabaseUrl(
        f"postgresql://{credentials}{'@' if credentials else ''}{hosts}{path}{f'?{query}' if query else ''}"
    )
    options = dict(parse_qsl(query, keep_blank_values=True))
    at = "***@" if credentials or {"user", "password"} & options.keys() else ""
    place = hosts or ":".join(options[key] for key in ("host", "port") if options.get(key))
    name = path or "".join(f"/{options[key]}" for key in ("dbname", "database") if options.get(key))
    found.shown = f"postgresql://{at}{place}{name}"
    found.secrets = frozenset(_spellings(password, *raw, *_secret_options(query))) - {""}
    return found


def _secret_options(query: str) -> Iterator[str]:
    """Yield the secret values of a query, also with what follows: an `&` in a password may have been left as it is."""
    for match in re.finditer(r"(?:^|&)([^=&]*)=([^&]*)", query):
        if match[1].lower() in _SECRET_KEYS:
            yield match[2]
            yield query[match.start(2) :]


def _spellings(meant: str, *written: str) -> Iterator[str]:
    yield from written
    for secret in (meant, *map(unquote, written), *map(unquote_plus, written)):
        yield from (secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1])


def masked(value: Any) -> str:
    """Return a setting's value for people: without what stands before an @ in a URL, or in its query."""
    if isinstance(value, DatabaseUrl):
        return value.shown
    text = str(value)
    if "://" not in text:
        return text
    scheme, _, rest = text.partition("://")
    _, at, place = rest.rpartition("@")
    place, query, _ = place.partition("?")
    return f"{scheme}://{'***@' if at else ''}{place}{'?***' if query else ''}"
