"""
An HTTP client that dials only addresses that were judged.

The pool of httpx's transport is private (httpx is pinned below 0.29, and a test guards it): this is the one
place that touches it.
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

from tasks.addresses import judged_answers

Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to addresses; raises OSError."""

RESOLVE_S = 5.0
_REFUSED = "destination not allowed"


class DestinationDenied(httpcore.ConnectError):
    """The name resolves to an address we do not talk to."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver, at most 5 s, eight questions at a time."""
    question = _resolvers().submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in question.result(RESOLVE_S)]


@lru_cache(maxsize=1)
def _resolvers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8, thread_name_prefix="resolve")


class GuardedBackend(httpcore.NetworkBackend):
    """Resolve, judge every answer, dial exactly an address that was judged, and stop at a deadline."""

    def __init__(
        self, resolve: Resolve, trusted: Callable[[str, int], bool], denied: Iterable[str], deadline: float
    ) -> None:
        """
        Build a backend for one request and its redirects.

        Args:
            resolve:  gives the addresses of a name.
            trusted:  tells whether the operator allowed this host and port by name.
            denied:   networks denied to all.
            deadline: on `time.monotonic()`, after which nothing is read or written.
        """
        self._resolve, self._trusted, self._denied = resolve, trusted, tuple(denied)
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
        """Open a connection to one of the judged addresses."""
        try:
            answers = self._resolve(host, port)
        except (OSError, TimeoutError, UnicodeError) as error:
            raise httpcore.ConnectError("the name does not resolve") from error
        addresses = judged_answers(answers, trusted=self._trusted(host, port), denied_networks=self._denied)
        if not addresses:
            raise DestinationDenied(_REFUSED)
        for address in addresses[:-1]:
            try:
                return self._dial(address, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._dial(addresses[-1], port, timeout)

    def _dial(self, address: str, port: int, timeout: float | None) -> httpcore.NetworkStream:
        real = self._real.connect_tcp(address, port, _left(self._deadline, timeout))
        return _TimedStream(real, self._deadline)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Refuse: no web address means a socket of this machine."""
        raise DestinationDenied(_REFUSED)

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        self._real.sleep(seconds)


class _TimedStream(httpcore.NetworkStream):
    """A connection on which no wait goes beyond the deadline, however slowly bytes drip."""

    def __init__(self, real: httpcore.NetworkStream, deadline: float) -> None:
        self._real, self._deadline = real, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes."""
        return self._real.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes."""
        self._real.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        """Close."""
        self._real.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on in TLS, for the host's name and not the address dialled."""
        real = self._real.start_tls(ssl_context, server_hostname, _left(self._deadline, timeout))
        return _TimedStream(real, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Pass on."""
        return self._real.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time for this request is over")
    return left if timeout is None else min(left, timeout)


def guarded_client(backend: GuardedBackend, timeout: httpx.Timeout) -> httpx.Client:
    """Build a client on a guarded pool: no proxies, no environment, no redirects of its own."""
    transport = httpx.HTTPTransport(verify=_tls(), trust_env=False)
    transport._pool.close()  # pyright: ignore[reportPrivateUsage]  see the module's docstring
    transport._pool = httpcore.ConnectionPool(  # pyright: ignore[reportPrivateUsage]
        ssl_context=_tls(), network_backend=backend, max_connections=4
    )
    return httpx.Client(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
