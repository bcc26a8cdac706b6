"""
HTTP client with SSRF protection: it connects only to IP addresses that passed the egress rules.

The connection pool of httpx's transport is private. httpx is pinned below 0.29, and a test checks the access;
this is the only module that uses it.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import httpcore
import httpx

from tasks.outbound.address_rules import validate_addresses

Resolver = Callable[[str, int], Sequence[str]]
"""Returns the IP addresses of a host and port; raises OSError if the host does not resolve."""

RESOLVE_TIMEOUT_S = 5.0
_DENIED_MESSAGE = "destination not allowed"


class DestinationDenied(httpcore.ConnectError):
    """The host resolves to a denied IP address."""


def resolve_host(host: str, port: int) -> Sequence[str]:
    """Resolve a host with the system's resolver: a timeout of 5 s, at most eight lookups at a time."""
    lookup = _resolver_pool().submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in lookup.result(RESOLVE_TIMEOUT_S)]


@lru_cache(maxsize=1)
def _resolver_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8, thread_name_prefix="resolve")


class GuardedBackend(httpcore.NetworkBackend):
    """A network backend that resolves hosts, connects only to allowed addresses, and has a deadline."""

    def __init__(
        self,
        resolve: Resolver,
        is_trusted: Callable[[str, int], bool],
        denied_networks: Iterable[str],
        deadline: float,
    ) -> None:
        """
        Create a backend for one request and its redirects.

        Args:
            resolve:         returns the IP addresses of a host.
            is_trusted:      returns whether the operator allowed a host and port by name.
            denied_networks: networks that are denied for every host.
            deadline:        time of `time.monotonic()` after which nothing is read or written.
        """
        self._resolve, self._is_trusted, self._denied_networks = resolve, is_trusted, tuple(denied_networks)
        self._deadline = deadline
        self._real = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first allowed address that accepts; raise DestinationDenied if one is denied."""
        try:
            answers = self._resolve(host, port)
        except (
            OSError,
            ValueError,
            OverflowError,
        ) as error:  # the last two: names and ports it cannot encode
            raise httpcore.ConnectError("the name does not resolve") from error
        addresses = validate_addresses(
            answers, trusted=self._is_trusted(host, port), denied_networks=self._denied_networks
        )
        if not addresses:
            raise DestinationDenied(_DENIED_MESSAGE)
        for address in addresses[:-1]:
            try:
                return self._dial(address, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._dial(addresses[-1], port, timeout)

    def _dial(self, address: str, port: int, timeout: float | None) -> httpcore.NetworkStream:
        real = self._real.connect_tcp(address, port, _remaining_s(self._deadline, timeout))
        return _DeadlineStream(real, self._deadline)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Raise DestinationDenied: no URL may lead to a Unix socket of this machine."""
        raise DestinationDenied(_DENIED_MESSAGE)

    def sleep(self, seconds: float) -> None:
        """Sleep for some seconds."""
        self._real.sleep(seconds)


class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose timeouts never exceed the deadline, even if bytes arrive slowly."""

    def __init__(self, real: httpcore.NetworkStream, deadline: float) -> None:
        self._real, self._deadline = real, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read at most `max_bytes` bytes."""
        return self._real.read(max_bytes, _remaining_s(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes."""
        self._real.write(buffer, _remaining_s(self._deadline, timeout))

    def close(self) -> None:
        """Close the connection."""
        self._real.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Start TLS; the certificate is verified for the host name, not for the IP address."""
        real = self._real.start_tls(ssl_context, server_hostname, _remaining_s(self._deadline, timeout))
        return _DeadlineStream(real, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Return extra information of the wrapped connection."""
        return self._real.get_extra_info(info)


def _remaining_s(deadline: float, timeout: float | None) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise httpcore.ReadTimeout("the deadline of this request passed")
    return remaining if timeout is None else min(remaining, timeout)


class InvalidRedirect(httpx.RemoteProtocolError):
    """The response redirects to something that is not a valid URL."""


def send_request(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """
    Send a request; return the response before its body is read.

    Raises:
        InvalidRedirect: httpx parses the target of a redirect even if it does not follow it, and lets the
            errors of its IDNA library through.
        httpx.HTTPError: as `httpx.Client.send`.
    """
    try:
        return client.send(request, stream=True)
    except UnicodeError as error:
        raise InvalidRedirect("the response redirects to an invalid host name") from error


def guarded_client(backend: GuardedBackend, timeout: httpx.Timeout) -> httpx.Client:
    """Create a client on a guarded backend, without proxies, environment variables or redirects."""
    transport = httpx.HTTPTransport(verify=_tls_context(), trust_env=False)
    transport._pool.close()  # pyright: ignore[reportPrivateUsage]  see the module's docstring
    transport._pool = httpcore.ConnectionPool(  # pyright: ignore[reportPrivateUsage]
        ssl_context=_tls_context(), network_backend=backend, max_connections=4
    )
    return httpx.Client(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
