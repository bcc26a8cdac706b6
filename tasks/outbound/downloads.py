"""
Downloads of files from URLs that callers name, with SSRF protection, size limits and resumption.

Every hop is checked twice: its URL in `tasks.outbound.address_rules`, and the IP address to connect to in
`tasks.outbound.guarded_transport`. Bytes are counted as they arrive. The errors for *blocked* and
*unreachable* are the same.
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

from tasks.errors import InputBlocked, InputUnreachable, ObjectMissing
from tasks.outbound.address_rules import (
    Destination,
    blocked_error,
    is_trusted,
    parse_url,
    unreachable_message,
    validate_url,
)
from tasks.outbound.guarded_transport import (
    DestinationDenied,
    GuardedBackend,
    InvalidRedirect,
    Resolver,
    guarded_client,
    resolve_host,
    send_request,
)
from tasks.run.cancellation import raise_if_cancelled
from tasks.settings import EgressSettings, get_settings
from tasks.storage.object_store import OnBytes
from tasks.storage.resumable_file import PartialFile

_log = logging.getLogger(__name__)
_MAX_FAILED_TRIES = 3
_SPEED_WINDOW_S = 30.0
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_BYTE_COUNT = re.compile(r"[0-9]{1,18}")
"""A size in a header: at most 18 digits, because int() refuses thousands of digits."""
_REDIRECT_STATUSES = {301, 302, 303, 307, 308}
_STOP_CHECK_INTERVAL_S = 0.25


@dataclass(slots=True)
class _Deadline:
    """The time at which a download is abandoned, on the monotonic clock. Waiting for a host extends it."""

    at_s: float

    @property
    def has_passed(self) -> bool:
        return time.monotonic() > self.at_s


@dataclass(slots=True)
class _HostSlot:
    """The connections that may be open to one host, and the number of callers that use or await one."""

    free: threading.BoundedSemaphore
    users: int = 0


_host_slots: dict[tuple[str, int], _HostSlot] = {}
"""Hosts in use; a host is removed with its last user."""
_host_slots_lock = threading.Lock()


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
    has_strong_etag: bool


class WebDownloader:
    """Downloads web files under one set of egress rules."""

    def __init__(self, rules: EgressSettings, resolve: Resolver = resolve_host) -> None:
        """Create a downloader; tests pass a `resolve` that sends no DNS queries."""
        self._rules, self._resolve = rules, resolve

    def probe(self, url: str) -> WebFile:
        """
        Return version and size of a file without downloading it.

        Sends a GET for one byte, because signed URLs and many servers refuse HEAD.

        Raises:
            InputUnreachable: the file cannot be fetched. InputBlocked, a subclass: its URL is not allowed.
            ObjectMissing:    the server responds with 404 or 410.
        """
        try:
            with self._get(url, {"Range": "bytes=0-0"}, self._deadline()) as response:
                return _describe_response(url, response)
        except _TransferInterrupted as error:
            raise InputUnreachable(unreachable_message(_without_query(url))) from error

    def _deadline(self) -> _Deadline:
        return _Deadline(time.monotonic() + self._rules.total_timeout_s)

    def fetch_into(
        self, part: PartialFile, url: str, expected: WebFile | None = None, on_bytes: OnBytes | None = None
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
        tries, deadline = _MAX_FAILED_TRIES, self._deadline()
        while True:
            size_before = part.size
            try:
                return self._fetch_rest(part, url, expected, on_bytes, deadline)
            except _TransferInterrupted as error:
                made_progress = expected is not None and expected.has_strong_etag and part.size > size_before
                tries -= not made_progress
                if tries <= 0 or deadline.has_passed:
                    raise InputUnreachable(unreachable_message(_without_query(url))) from error

    def _fetch_rest(
        self,
        part: PartialFile,
        url: str,
        expected: WebFile | None,
        on_bytes: OnBytes | None,
        deadline: _Deadline,
    ) -> WebFile:
        headers: dict[str, str] = {}
        if part.size and expected and expected.has_strong_etag and expected.version:
            headers = {"Range": f"bytes={part.size}-", "If-Range": expected.version.removeprefix("etag:")}
        else:
            part.restart()
        with self._get(url, headers, deadline) as response:
            current = _describe_response(url, response)
            is_same = expected is not None and expected.version == current.version
            if response.status_code == 416 and is_same and part.size == current.size:
                return current  # the part was already complete
            if _first_byte_offset(response) != part.size or (part.size and not is_same):
                part.restart()
                if _first_byte_offset(response) != 0:
                    raise _TransferInterrupted("the server sent another range than requested")
            if current.size is not None:
                part.check_size(current.size)
            self._receive(part, response, on_bytes)
        if current.size is not None and part.size != current.size:
            raise _TransferInterrupted("the server sent fewer bytes than announced")
        return current

    def _receive(self, part: PartialFile, response: httpx.Response, on_bytes: OnBytes | None) -> None:
        window_start, window_bytes = time.monotonic(), 0
        for block in response.iter_raw():  # no block size: httpx drops an incomplete block on disconnect
            part.write(block)
            if on_bytes:
                on_bytes(len(block))
            window_bytes += len(block)
            elapsed = time.monotonic() - window_start
            if elapsed > _SPEED_WINDOW_S:
                if window_bytes < self._rules.min_bytes_per_s * elapsed:
                    _log.warning("download too slow, aborted: %d bytes in %.0f s", window_bytes, elapsed)
                    raise InputUnreachable(unreachable_message(_without_query(str(response.request.url))))
                window_start, window_bytes = time.monotonic(), 0

    @contextmanager
    def _get(self, url: str, headers: dict[str, str], deadline: _Deadline) -> Generator[httpx.Response]:
        """Send one GET and follow redirects that pass the checks; read the body inside the `with` block."""
        destination, rules = _validate_and_log(url, self._rules), self._rules
        with _host_slot(destination.url.host, rules.per_host) as waited_s:
            deadline.at_s += waited_s
            with self._open(destination, headers, deadline) as response:
                yield response

    @contextmanager
    def _open(
        self, destination: Destination, headers: dict[str, str], deadline: _Deadline
    ) -> Generator[httpx.Response]:
        rules = self._rules
        request_headers = {"Accept-Encoding": "identity", "User-Agent": "musetalk-flows", **headers}
        backend = GuardedBackend(self._resolve, self._is_trusted, rules.denied_networks, deadline.at_s)
        timeout = httpx.Timeout(rules.first_byte_timeout_s, connect=rules.connect_timeout_s)
        with _translate_errors(destination), guarded_client(backend, timeout) as client:
            response = self._follow_redirects(client, destination, request_headers)
            try:
                _check_response(response, destination)
                yield response
            finally:
                response.close()

    def _follow_redirects(
        self, client: httpx.Client, destination: Destination, headers: dict[str, str]
    ) -> httpx.Response:
        first = destination
        for _ in range(self._rules.max_redirects + 1):
            response = send_request(client, client.build_request("GET", destination.url, headers=headers))
            if response.status_code not in _REDIRECT_STATUSES:
                return response
            response.close()
            next_destination = self._redirect_target(response, destination, first)
            if destination.url.scheme == "https" and next_destination.url.scheme != "https":
                _log.warning("refused %s: it redirects from https to http", first.display_url)
                raise blocked_error(first.display_url)
            destination = next_destination
        _log.warning("refused %s: more than %d redirects", first.display_url, self._rules.max_redirects)
        raise blocked_error(first.display_url)

    def _redirect_target(
        self, response: httpx.Response, current: Destination, first: Destination
    ) -> Destination:
        try:
            target = str(parse_url(response.headers.get("location", ""), current.url))
        except ValueError as error:
            _log.warning("refused %s: it redirects to something that is not a URL", first.display_url)
            raise blocked_error(first.display_url) from error
        return _validate_and_log(target, self._rules, first.display_url)

    def _is_trusted(self, host: str, port: int) -> bool:
        return is_trusted(host, port, self._rules)


def web_downloader() -> WebDownloader:
    """Return a downloader with the egress rules of the settings."""
    return WebDownloader(get_settings().egress)


def is_allowed_url(url: str, rules: EgressSettings) -> bool:
    """
    Return whether a URL passes the egress rules that need no DNS lookup: scheme, host and port.

    The addresses of a host name are checked when a connection is opened.

    Args:
        url:   the URL.
        rules: the egress settings.
    """
    try:
        validate_url(url, rules)
    except InputBlocked:
        return False
    return True


def _validate_and_log(url: str, rules: EgressSettings, display_url: str | None = None) -> Destination:
    """Validate a URL and log a refusal. The error names only `display_url`, the first hop, if it is given."""
    try:
        return validate_url(url, rules)
    except InputBlocked as error:
        _log.warning("URL refused: %s", error)
        raise blocked_error(display_url) if display_url else error from None


class _TransferInterrupted(Exception):
    """The transfer ended early; with a strong ETag it can be resumed."""


@contextmanager
def _translate_errors(destination: Destination) -> Generator[None]:
    """Translate errors of httpx to `tasks.errors`; the reason is only logged."""
    try:
        yield
    except httpx.ConnectError as error:
        if isinstance(error.__cause__, DestinationDenied):
            _log.warning("refused %s: it resolves to a denied address", destination.display_url)
            raise blocked_error(destination.display_url) from None
        raise _unreachable_error(destination, error) from None
    except InvalidRedirect:
        _log.warning("refused %s: it redirects to an invalid host name", destination.display_url)
        raise blocked_error(destination.display_url) from None
    except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError) as error:
        raise _TransferInterrupted(str(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        raise _unreachable_error(destination, error) from None


def _without_query(url: str) -> str:
    return url.split("?", 1)[0][:200]


def _unreachable_error(destination: Destination, error: Exception) -> InputUnreachable:
    _log.warning("unreachable %s: %s: %s", destination.display_url, type(error).__name__, error)
    return InputUnreachable(unreachable_message(destination.display_url))


def _check_response(response: httpx.Response, destination: Destination) -> None:
    status = response.status_code
    if status in (404, 410):
        raise ObjectMissing(f"There is no file at {destination.display_url} (status {status}).")
    if status not in (200, 206, 416):
        _log.warning("%s responded with status %d", destination.display_url, status)
        raise InputUnreachable(unreachable_message(destination.display_url))
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        _log.warning("%s sent a compressed body despite Accept-Encoding: identity", destination.display_url)
        raise InputUnreachable(unreachable_message(destination.display_url))


def _describe_response(url: str, response: httpx.Response) -> WebFile:
    etag, modified = response.headers.get("etag", ""), response.headers.get("last-modified")
    size = _total_size(response)
    strong = etag.startswith('"')
    if strong:
        version = f"etag:{etag}"
    elif modified and size is not None:
        version = f"modified:{modified}:{size}"
    else:
        version = f"weak:{etag}:{size}" if etag and size is not None else None
    return WebFile(url, version, size, strong)


def _total_size(response: httpx.Response) -> int | None:
    """Return the size of the whole file in bytes; None if the response does not say."""
    if response.status_code == 200:
        length = response.headers.get("content-length", "")
        return int(length) if _BYTE_COUNT.fullmatch(length) else None
    total = response.headers.get("content-range", "").rsplit("/", 1)[-1]
    return int(total) if _BYTE_COUNT.fullmatch(total) else None


def _first_byte_offset(response: httpx.Response) -> int:
    """Return the offset of the response's first byte in the file; -1 if the server does not say."""
    if response.status_code == 200:
        return 0
    content_range = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    return int(content_range.group(1)) if content_range else -1


@contextmanager
def _host_slot(host: str, limit: int) -> Generator[float]:
    """
    Hold one of the `limit` connections to a host; yield the seconds that the caller waited for it.

    Raises:
        Cancelled: the job was canceled while it waited.
    """
    key = host, limit
    with _host_slots_lock:
        slot = _host_slots.setdefault(key, _HostSlot(threading.BoundedSemaphore(limit)))
        slot.users += 1
    try:
        start = time.monotonic()
        while not slot.free.acquire(timeout=_STOP_CHECK_INTERVAL_S):
            raise_if_cancelled()
        try:
            yield time.monotonic() - start
        finally:
            slot.free.release()
    finally:
        with _host_slots_lock:
            slot.users -= 1
            if not slot.users:
                _host_slots.pop(key, None)
