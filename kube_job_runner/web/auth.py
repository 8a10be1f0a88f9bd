"""Authentication: bearer tokens, of which the database holds only a hash, and a short cache of them in this process."""

import asyncio
import base64
import hashlib
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.ports import Clock, Token, TokenStore
from kube_job_runner.settings import Settings
from kube_job_runner.settings.groups import WebSettings
from kube_job_runner.web.kit import origins
from kube_job_runner.web.kit.origins import Gate
from kube_job_runner.web.kit.problems import UNAUTHENTICATED, RequestProblem

CACHE_SECONDS = 5.0
CACHE_MAX = 4096
ANONYMOUS = "anonymous"
_SECRET = re.compile(rb"kjr_[0-9a-z]{8}_[A-Za-z0-9_-]{43}")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_CHALLENGE = b'Bearer realm="kube-job-runner"'
_CONNECTION_FILE = "connection.json"


class _Connection(msgspec.Struct, omit_defaults=True):
    url: str
    token: str = ""


def new_token(name: str) -> tuple[str, Token]:
    """Return a new secret with 256 random bits, and the token to store for it. The secret is shown once.

    It is `kjr_<prefix>_<random>`. Secret scanners find the fixed beginning. People tell tokens apart by the prefix of 8
    characters. The rest is 43 characters of base64url.
    """
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    random = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode("ascii")
    secret = f"kjr_{prefix}_{random}"
    return secret, Token(name=name, token_hash=hash_secret(secret.encode("ascii")), prefix=prefix)


def local_token(data_dir: Path, name: str) -> tuple[str, Token]:
    """Return the secret and the token of `kjr up`: those of its connection file, else new ones."""
    try:
        kept = msgspec.json.decode((data_dir / _CONNECTION_FILE).read_bytes(), type=_Connection).token.encode("utf-8")
    except (OSError, msgspec.MsgspecError):
        kept = b""
    if not _SECRET.fullmatch(kept):
        return new_token(name)
    return kept.decode("ascii"), Token(name=name, token_hash=hash_secret(kept), prefix=kept[4:12].decode("ascii"))


def write_connection(data_dir: Path, url: str, token: str) -> None:
    """Write the URL and the secret where commands on this machine find them; only the owner can read the file."""
    data_dir.mkdir(parents=True, exist_ok=True)
    content = msgspec.json.encode(_Connection(url=url, token=token))
    scratch = data_dir / f".{_CONNECTION_FILE}.{os.getpid()}"
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    scratch.replace(data_dir / _CONNECTION_FILE)


def hash_secret(secret: bytes) -> bytes:
    """Return the hash that is stored of a secret. It has 256 random bits, so a fast hash without a salt is enough."""
    return hashlib.sha256(secret).digest()


async def anonymous(_headers: Mapping[bytes, bytes]) -> str:
    """Accept everybody. Only for a server that listens only on loopback."""
    return ANONYMOUS


class Authenticator:
    """Finds the owner of a request's token. Known and unknown tokens cost the same: one hash and one look-up by it.

    An answer of the store is cached for at most 5 seconds. So a revoked token stops working within 5 seconds.
    """

    def __init__(self, tokens: TokenStore, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, str | None]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[str | None]] = {}

    async def __call__(self, headers: Mapping[bytes, bytes]) -> str:
        """Return the owner of the token.

        Raises:
            RequestProblem: 401 with a challenge (RFC 6750, section 3).
            DatabaseUnavailable: the store does not answer.
        """
        given = headers.get(b"authorization")
        if given is None:
            raise _refusal("the request has no Authorization header", _CHALLENGE)
        scheme, _, secret = given.partition(b" ")
        secret = secret.strip()
        if scheme.lower() != b"bearer" or not _SECRET.fullmatch(secret):
            raise _refusal("the Authorization header must be `Bearer kjr_...`, with a token of this server", _CHALLENGE)
        name = await self._name(hash_secret(secret))
        if name is None:
            challenge = _CHALLENGE + b', error="invalid_token"'
            raise _refusal("the token is unknown, expired or revoked", challenge)
        return name

    async def _name(self, token_hash: bytes) -> str | None:
        known = self._known.get(token_hash)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        asking = self._asking.get(token_hash)
        if asking is None:
            asking = self._asking[token_hash] = asyncio.create_task(self._ask(token_hash))
            asking.add_done_callback(lambda _: self._asking.pop(token_hash, None))
        return await asyncio.shield(asking)

    async def _ask(self, token_hash: bytes) -> str | None:
        token = await self._tokens.find_token(token_hash)
        name = token.name if token is not None else None
        self._known[token_hash] = (self._clock.monotonic() + CACHE_SECONDS, name)
        self._known.move_to_end(token_hash)
        while len(self._known) > CACHE_MAX:
            self._known.popitem(last=False)
        return name


def _refusal(detail: str, challenge: bytes) -> RequestProblem:
    return RequestProblem(UNAUTHENTICATED, detail, headers=((b"www-authenticate", challenge),))


def check_exposure(settings: Settings) -> None:
    """Refuse to listen without authentication on an address that other machines can reach.

    Raises:
        ConfigurationError: authentication is off, and the address is not loopback.
    """
    if settings.web.auth == "none" and not origins.is_loopback(settings.web.host):
        raise ConfigurationError(
            f"KJR_AUTH=none is for loopback only, and KJR_HOST is {settings.web.host!r}: set KJR_AUTH=token,"
            " or KJR_HOST=127.0.0.1"
        )


def gate(web: WebSettings) -> Gate:
    """Return which hosts and origins are served. With tokens every host is, unless some are named: no page knows a token."""
    named = (*web.allowed_hosts, web.host) if web.auth == "none" else web.allowed_hosts
    return Gate(named, loopback=web.auth == "none")
