"""An aiohttp connector whose sockets are made, connected and closed only by the event loop.

aiohttp's own connector makes a Python socket, and hands it to the loop once it is connected. While an API server restarts,
uvloop and that socket can disagree about who owns the descriptor, and libuv ends the process (MagicStack/uvloop#653,
aio-libs/aiohttp#10506). Here only the loop holds the descriptor.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.connector import BaseConnector

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler

CONNECT_SECONDS = 10.0
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_TURNS_TO_CLOSE = 5


class OpenConnections:
    """The open connections, to be able to cut them: a connection that is closed properly may linger for half a minute."""

    def __init__(self) -> None:
        self._transports: set[asyncio.Transport] = set()

    def add(self, transport: asyncio.Transport, protocol: ResponseHandler) -> None:
        """Add a connection, and turn on TCP keepalive: without it a quiet log stream does not notice a dead peer."""
        closed = protocol.closed
        if closed is None:
            return  # it has ended already
        self._transports.add(transport)

        def forget(ended: asyncio.Future[None]) -> None:
            ended.exception()  # the user of the connection gets it
            self._transports.discard(transport)

        closed.add_done_callback(forget)
        made = transport.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    async def cut(self) -> None:
        """Cut the connections that still linger, and let the event loop notice it."""
        for transport in list(self._transports):
            transport.abort()
        for _ in range(_TURNS_TO_CLOSE):
            await asyncio.sleep(0)


class Connector(BaseConnector):
    """Connects to the host of a request, with TLS for https. It knows no proxies.

    If the host has several addresses, each is tried in turn, for its share of `CONNECT_SECONDS`.
    """

    def __init__(self, connections: OpenConnections, *, limit: int, keepalive_seconds: float) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive_seconds)
        self._connections = connections

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        try:
            return await self._connect(req)
        except ssl.CertificateError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except TimeoutError:
            raise  # also an OSError; aiohttp words it
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error

    async def _connect(self, req: aiohttp.ClientRequest) -> ResponseHandler:
        loop = asyncio.get_running_loop()
        host, port = req.url.raw_host or "", req.url.port or 0
        options: dict[str, Any] = {}
        if req.is_ssl():
            options = {"ssl": req.ssl, "server_hostname": req.server_hostname or host}
        deadline = loop.time() + CONNECT_SECONDS
        async with asyncio.timeout_at(deadline):
            addresses = await _addresses(host, port)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                async with asyncio.timeout((deadline - loop.time()) / left):
                    transport, protocol = await loop.create_connection(self._factory, address, port, **options)
            except ssl.SSLError:
                raise
            except OSError:
                if left == 1:
                    raise
            else:
                self._connections.add(transport, protocol)
                return protocol
        raise OSError(f"{host} has no address")


async def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the system's order of preference."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
