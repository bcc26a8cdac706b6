"""
Downloads of files from URLs that callers name, with SSRF protection, size limits and resumption.

Every hop is checked twice: its URL in `tasks.addresses`, and the IP address to connect to in
`tasks.guarded`. Bytes are counted as they arrive. The errors for *blocked* and *unreachable* are the same.
"""

import logging
import re
import ssl
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tasks.addresses import Destination, blocked, is_trusted, judged_url, unreachable_text
from tasks.errors import InputBlocked, InputUnreachable, ObjectMissing
from tasks.guarded import DestinationDenied, GuardedBackend, Resolve, guarded_client, resolve
from tasks.objects import OnBytes
from tasks.partial import Part
from tasks.settings import EgressSettings, get_settings

_log = logging.getLogger(__name__)
_TRIES = 3
_SPEED_WINDOW_S = 30.0
_SPAN = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_BYTES = re.compile(r"[0-9]{1,18}")
"""A size in a header: at most 18 digits, because int() refuses thousands of digits."""
_REDIRECTS = {301, 302, 303, 307, 308}
_slots: dict[str, threading.BoundedSemaphore] = {}
_slots_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class WebFile:
    """
    A file on a web server, as the response headers describe it.

    Attributes:
        url:             the requested URL, not the target of a redirect.
        version:         the ETag, or modification time and size; None if the server sends neither.
        size:            size in bytes; None if unknown.
        has_strong_etag: whether the ETag is strong, so that an interrupted download can be resumed.
    """

    url: str
    version: str | None
    size: int | None
    strong: bool


class Egress:
    """Downloads web files under one set of egress rules."""

    def __init__(self, rules: EgressSettings, resolve: Resolve = resolve) -> None:
        """Create a downloader; tests pass a `resolve` that sends no DNS queries."""
        self._rules, self._resolve = rules, resolve

    def look(self, url: str) -> WebFile:
        """
        Return version and size of a file without downloading it.

        Sends a GET for one byte, because signed URLs and many servers refuse HEAD.

        Raises:
            InputUnreachable: the file cannot be fetched. InputBlocked, a subclass: its URL is not allowed.
            ObjectMissing:    the server responds with 404 or 410.
        """
        try:
            with self._answer(url, {"Range": "bytes=0-0"}, self._deadline()) as answer:
                return _described(url, answer)
        except _Broken as error:
            raise InputUnreachable(unreachable_text(_without_query(url))) from error

    def _deadline(self) -> float:
        return time.monotonic() + self._rules.total_timeout_s

    def fetch_into(
        self, part: Part, url: str, seen: WebFile | None = None, on_bytes: OnBytes | None = None
    ) -> WebFile:
        """
        Download the rest of a file into `part`, with retries.

        Args:
            part:     the partial file. It is resumed if `expected` has a strong ETag that still matches, else
                it is restarted.
            url:      URL of the file.
            expected: what `probe` returned when the part was started.
            on_bytes: called with the number of bytes that arrived.

        Returns:
            The file as described by the response that sent the bytes.

        Raises:
            InputUnreachable, ObjectMissing: as `probe`.
            MediaTooLarge: the limit of the part was exceeded.
        """
        tries, deadline = _TRIES, self._deadline()
        while True:
            before = part.size
            try:
                return self._fetch_rest(part, url, seen, on_bytes, deadline)
            except _Broken as error:
                gained = seen is not None and seen.strong and part.size > before
                tries -= not gained
                if tries <= 0 or time.monotonic() > deadline:
                    raise InputUnreachable(unreachable_text(_without_query(url))) from error

    def _fetch_rest(
        self, part: Part, url: str, seen: WebFile | None, on_bytes: OnBytes | None, deadline: float
    ) -> WebFile:
        headers: dict[str, str] = {}
        if part.size and seen and seen.strong and seen.version:
            headers = {"Range": f"bytes={part.size}-", "If-Range": seen.version.removeprefix("etag:")}
        else:
            part.restart()
        with self._answer(url, headers, deadline) as answer:
            found = _described(url, answer)
            same = seen is not None and seen.version == found.version
            if answer.status_code == 416 and same and part.size == found.size:
                return found  # the part was already complete
            if _start(answer) != part.size or (part.size and not same):
                part.restart()
                if _start(answer) != 0:
                    raise _Broken("the server sent another range than requested")
            if found.size is not None:
                part.expect(found.size)
            self._receive(part, answer, on_bytes)
        if found.size is not None and part.size != found.size:
            raise _Broken("the server sent fewer bytes than announced")
        return found

    def _receive(self, part: Part, answer: httpx.Response, on_bytes: OnBytes | None) -> None:
        window_began, window_bytes = time.monotonic(), 0
        for block in answer.iter_raw():  # no block size: httpx drops an incomplete block on disconnect
            part.write(block)
            if on_bytes:
                on_bytes(len(block))
            window_bytes += len(block)
            elapsed = time.monotonic() - window_began
            if elapsed > _SPEED_WINDOW_S:
                if window_bytes < self._rules.min_bytes_per_s * elapsed:
                    _log.warning("download too slow, aborted: %d bytes in %.0f s", window_bytes, elapsed)
                    raise InputUnreachable(unreachable_text(_without_query(str(answer.request.url))))
                window_began, window_bytes = time.monotonic(), 0

    @contextmanager
    def _answer(self, url: str, headers: dict[str, str], deadline: float) -> Generator[httpx.Response]:
        """Send one GET and follow redirects that pass the checks; read the body inside the `with` block."""
        destination, rules = _judged(url, self._rules), self._rules
        asked = {"Accept-Encoding": "identity", "User-Agent": "musetalk-flows", **headers}
        backend = GuardedBackend(self._resolve, self._is_trusted, rules.denied_networks, deadline)
        timeout = httpx.Timeout(rules.first_byte_timeout_s, connect=rules.connect_timeout_s)
        with (
            _slot(destination.url.host, rules.per_host),
            _said(destination),
            guarded_client(backend, timeout) as client,
        ):
            answer = self._follow(client, destination, asked)
            try:
                _check(answer, destination)
                yield answer
            finally:
                answer.close()

    def _follow(
        self, client: httpx.Client, destination: Destination, headers: dict[str, str]
    ) -> httpx.Response:
        first = destination
        for _ in range(self._rules.max_redirects + 1):
            answer = client.send(client.build_request("GET", destination.url, headers=headers), stream=True)
            if answer.status_code not in _REDIRECTS:
                return answer
            answer.close()
            target = str(destination.url.join(answer.headers.get("location", "")))
            following = _judged(target, self._rules, first.shown)
            if destination.url.scheme == "https" and following.url.scheme != "https":
                _log.warning("refused %s: it redirects from https to http", first.shown)
                raise blocked(first.shown)
            destination = following
        _log.warning("refused %s: more than %d redirects", first.shown, self._rules.max_redirects)
        raise blocked(first.shown)

    def _is_trusted(self, host: str, port: int) -> bool:
        return is_trusted(host, port, self._rules)


def egress() -> Egress:
    """Return a downloader with the egress rules of the settings."""
    return Egress(get_settings().egress)


def is_usable_address(url: str, rules: EgressSettings) -> bool:
    """
    Tell whether the spelling of a URL is allowed. IP addresses are checked when a connection is opened.

    Args:
        url:   the URL.
        rules: the egress settings.
    """
    try:
        judged_url(url, rules)
    except InputBlocked:
        return False
    return True


def _judged(url: str, rules: EgressSettings, shown: str | None = None) -> Destination:
    """Validate a URL and log a refusal. The error names only `display_url`, the first hop, if it is given."""
    try:
        return judged_url(url, rules)
    except InputBlocked as error:
        _log.warning("URL refused: %s", error)
        raise blocked(shown) if shown else error from None


class _Broken(Exception):
    """The transfer ended early; with a strong ETag it can be resumed."""


@contextmanager
def _said(destination: Destination) -> Generator[None]:
    """Translate errors of httpx to `tasks.errors`; the reason is only logged."""
    try:
        yield
    except httpx.ConnectError as error:
        if isinstance(error.__cause__, DestinationDenied):
            _log.warning("refused %s: it resolves to a denied address", destination.shown)
            raise blocked(destination.shown) from None
        raise _unreachable(destination, error) from None
    except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError) as error:
        raise _Broken(str(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        raise _unreachable(destination, error) from None


def _without_query(url: str) -> str:
    return url.split("?", 1)[0][:200]


def _unreachable(destination: Destination, error: Exception) -> InputUnreachable:
    _log.warning("unreachable %s: %s: %s", destination.shown, type(error).__name__, error)
    return InputUnreachable(unreachable_text(destination.shown))


def _check(answer: httpx.Response, destination: Destination) -> None:
    status = answer.status_code
    if status in (404, 410):
        raise ObjectMissing(f"There is no file at {destination.shown} (status {status}).")
    if status not in (200, 206, 416):
        _log.warning("%s responded with status %d", destination.shown, status)
        raise InputUnreachable(unreachable_text(destination.shown))
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        _log.warning("%s sent a compressed body despite Accept-Encoding: identity", destination.shown)
        raise InputUnreachable(unreachable_text(destination.shown))


def _described(url: str, answer: httpx.Response) -> WebFile:
    tag, modified = answer.headers.get("etag", ""), answer.headers.get("last-modified")
    size = _size(answer)
    strong = tag.startswith('"')
    if strong:
        version = f"etag:{tag}"
    elif modified and size is not None:
        version = f"modified:{modified}:{size}"
    else:
        version = f"weak:{tag}:{size}" if tag and size is not None else None
    return WebFile(url, version, size, strong)


def _size(answer: httpx.Response) -> int | None:
    """Return the size of the whole file in bytes; None if the response does not say."""
    if answer.status_code == 200:
        length = answer.headers.get("content-length", "")
        return int(length) if _BYTES.fullmatch(length) else None
    total = answer.headers.get("content-range", "").rsplit("/", 1)[-1]
    return int(total) if _BYTES.fullmatch(total) else None


def _start(answer: httpx.Response) -> int:
    """Return the offset of the response's first byte in the file; -1 if the server does not say."""
    if answer.status_code == 200:
        return 0
    span = _SPAN.fullmatch(answer.headers.get("content-range", ""))
    return int(span.group(1)) if span else -1


@contextmanager
def _slot(host: str, limit: int) -> Generator[None]:
    with _slots_guard:
        slot = _slots.setdefault(f"{host} {limit}", threading.BoundedSemaphore(limit))
    with slot:
        yield
