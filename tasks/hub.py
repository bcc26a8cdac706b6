"""
The one door to a model hub: looks files up and fetches them with `huggingface_hub`, resumably.

That library's own download begins anew after an interruption (its partial file bears a random name and is
removed), keeps a cache of its own and may use a protocol that cannot be continued; so here its parts are used
(addresses, headers, metadata, client, kinds of errors), and the bytes go into a `Part`.
Import this only where a hub is needed: the library takes a moment to load.
"""

import logging
import re
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from musetalk_core.weights.records import Hub
from tasks.errors import NotOffered, PullFailed
from tasks.objects import OnBytes
from tasks.partial import Part
from tasks.settings import WeightsSettings

_log = logging.getLogger(__name__)
_WAITS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses between tries that brought nothing; after the last one it is given up."""
_LONGEST_WAIT_S: Final = 60.0
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=10.0)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SPAN: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/(?:[0-9]+|\*)")
_TRANSIENT: Final = {408, 425, 429, 500, 502, 503, 504}
_WHO: Final = {"user-agent": "musetalk-flows"}
"""In place of the library's list of what is installed here."""


@dataclass(frozen=True, slots=True)
class Offer:
    """
    What the hub says about a file.

    Attributes:
        source: the file that was asked for.
        commit: what the revision means now.
        etag:   of the content.
        size:   bytes, if told.
    """

    source: Hub
    commit: str
    etag: str
    size: int | None

    @property
    def sha256(self) -> str | None:
        """The content's hash, which is the ETag of large files."""
        return self.etag if _SHA256.fullmatch(self.etag) else None

    @property
    def name(self) -> str:
        """What it is, for notes and messages."""
        return f"{self.source.repo}/{self.source.file}@{self.commit[:12]}"


class _Broken(Exception):
    """A try failed in a way that may heal."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class HubClient:
    """Files of one hub."""

    def __init__(self, settings: WeightsSettings) -> None:
        """Keep the settings; nothing is asked yet."""
        self._endpoint = settings.endpoint
        self._token = settings.token.get_secret_value() if settings.token else None

    @property
    def _auth(self) -> str | bool | None:
        """The token of the setting; else the library's own (None), but that only for its own hub."""
        return self._token or (None if self._endpoint is None else False)

    def look(self, source: Hub) -> Offer:
        """
        Ask what a file is, without fetching it.

        Raises:
            NotOffered: the hub has no such file, or keeps it from us.
            PullFailed: the hub does not answer.
        """
        waits = iter(_WAITS_S)
        while True:
            try:
                return self._looked(source)
            except _Broken as error:
                self._pause(waits, source, error)

    def _looked(self, source: Hub) -> Offer:
        url = self._url(source, source.revision)
        with self._said(source):
            found = get_hf_file_metadata(url, token=self._auth, endpoint=self._endpoint, headers=dict(_WHO))
        if not found.etag or not found.commit_hash:
            raise PullFailed(
                f"{self._name} is no model hub: its answer lacks the version of {source.repo}/{source.file}."
            )
        return Offer(source, found.commit_hash, found.etag, found.size)

    def fetch_into(self, part: Part, offer: Offer, on_bytes: OnBytes) -> None:
        """
        Append to `part` what it lacks of a file.

        Args:
            part:     begun for this very content, or empty.
            offer:    what `look` said.
            on_bytes: called with the number of bytes that arrived; negative when the part begins anew.

        Raises:
            NotOffered, PullFailed: as `look`.
            DiskFull: the disk is full.
        """
        waits = iter(_WAITS_S)
        while offer.size is None or part.size != offer.size:
            before = part.size
            try:
                self._receive(part, offer, on_bytes)
            except _Broken as error:
                if part.size > before:
                    waits = iter(_WAITS_S)
                self._pause(waits, offer.source, error)
            else:
                return

    def _receive(self, part: Part, offer: Offer, on_bytes: OnBytes) -> None:
        headers = build_hf_headers(token=self._auth, headers=dict(_WHO)) | {"Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
        # not the address of the storage behind it, whose signature runs out; when the hub redirects there
        # the client takes the token off
        url = self._url(offer.source, offer.commit)
        with (
            self._said(offer.source),
            get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as answer,
        ):
            if answer.status_code == 416:
                _restart(part, on_bytes)
                raise _Broken("it has no such range")
            hf_raise_for_status(answer)
            if _start(answer) != part.size:
                _restart(part, on_bytes)
                if _start(answer) != 0:
                    raise _Broken("it sent another range than asked for")
            for block in answer.iter_bytes():
                part.write(block)
                on_bytes(len(block))
        if offer.size is not None and part.size < offer.size:
            raise _Broken("it sent fewer bytes than announced")
        if offer.size is not None and part.size > offer.size:
            _restart(part, on_bytes)
            raise PullFailed(f"{self._name} sent more bytes of {offer.name} than it had announced.")

    def _pause(self, waits: Iterator[float], source: Hub, error: _Broken) -> None:
        """
        Wait before the next try.

        Raises:
            PullFailed: there have been enough.
        """
        wait_s = next(waits, None)
        if wait_s is None:
            raise PullFailed(
                f"{self._name} does not give {source.repo}/{source.file}: {error}. Run the command again when"
                " it does; what has arrived is kept."
            ) from error
        _log.warning("%s/%s: %s; trying again", source.repo, source.file, error)
        time.sleep(min(max(wait_s, error.wait_s), _LONGEST_WAIT_S))

    def _url(self, source: Hub, revision: str) -> str:
        return hf_hub_url(source.repo, source.file, revision=revision, endpoint=self._endpoint)

    @property
    def _name(self) -> str:
        return f"The hub at {self._endpoint}" if self._endpoint else "The model hub"

    @contextmanager
    def _said(self, source: Hub) -> Generator[None]:
        """Say in our words what the library and its client raise."""
        try:
            yield
        except OfflineModeIsEnabled as error:
            raise PullFailed("HF_HUB_OFFLINE is set: unset it to pull models.") from error
        except HfHubHTTPError as error:
            raise self._refused(source, error.response) from error
        except httpx2.TransportError as error:
            raise _Broken(f"{type(error).__name__}: {error}") from error

    def _refused(self, source: Hub, answer: httpx2.Response) -> Exception:
        status, what = answer.status_code, f"{source.repo}/{source.file}"
        if status in _TRANSIENT:
            after = answer.headers.get("retry-after", "")
            return _Broken(f"it answers {status}", float(after) if after.isdecimal() else 0.0)
        if status in (401, 403):
            return NotOffered(
                f"{self._name} keeps {what} from us (status {status}): it is gated, private, or not there."
                f" Accept its licence on the page of {source.repo} and set MUSETALK_WEIGHTS__TOKEN to a token"
                " that may read it."
            )
        if status == 404:
            return NotOffered(f"{self._name} has no {what} (revision {source.revision}).")
        return PullFailed(f"{self._name} answers {status} to {what}.")


def _restart(part: Part, on_bytes: OnBytes) -> None:
    on_bytes(-part.size)
    part.restart()


def _start(answer: httpx2.Response) -> int:
    """Position of the answer's first byte; -1 when the server does not say."""
    if answer.status_code != 206:
        return 0
    span = _SPAN.fullmatch(answer.headers.get("content-range", ""))
    return int(span.group(1)) if span else -1
