"""Client of resumable uploads (tus 1.0.0): sends a file, and the rest of it after each interruption."""

import base64
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import httpx

MIN_BYTES: Final = 8 << 20
"""Size from which `MusetalkClient` uploads resumably; smaller files are sent again as a whole."""
_BLOCK_BYTES: Final = 1 << 20
_TUS: Final = {"Tus-Resumable": "1.0.0"}
_PATCH_HEADERS: Final = {**_TUS, "Content-Type": "application/offset+octet-stream"}
_NO_SUCH_ROUTE: Final = frozenset({404, 405})
_TEMPORARY: Final = frozenset({408, 409, 423, 429, 500, 502, 503, 504})
_MAX_FAILURES: Final = 8
"""Consecutive failures without a new byte after which the upload fails."""
_FIRST_DELAY_S: Final = 0.5
_MAX_DELAY_S: Final = 15.0


class ResumableUpload:
    """The upload of one file."""

    def __init__(
        self,
        http: httpx.Client,
        file: BinaryIO,
        name: str,
        size: int,
        check: Callable[[httpx.Response], None],
    ) -> None:
        """
        Prepare an upload; sends nothing.

        Args:
            http:  client with the address and the key of the API.
            file:  seekable file; it is sent from its position on.
            name:  name of the asset.
            size:  number of bytes.
            check: raises an error for a response that is not successful.
        """
        self._http, self._file, self._start, self._size = http, file, file.tell(), size
        self._name, self._check = name, check
        self._url, self._offset = "", 0

    def run(self) -> str | None:
        """
        Send the file and return its asset:// reference; None if the server has no resumable uploads.

        Raises:
            httpx.TransportError: the server cannot be reached, for more than a minute.
            Exception: the error that `check` raises.
        """
        created = self._create()
        if created.status_code in _NO_SUCH_ROUTE:
            return None
        self._check(created)
        self._url, failures = str(created.request.url.join(created.headers["location"])), 0
        while True:
            offset = self._offset
            try:
                response = self._send_rest() if not failures else self._ask_and_send_rest()
                if response.status_code not in _TEMPORARY:
                    self._check(response)
                    if asset := response.headers.get("upload-asset"):
                        return str(asset)
                    self._offset = int(response.headers["upload-offset"])
            except httpx.TransportError:
                response = None
            failures = 1 if self._offset > offset else failures + 1
            if failures > _MAX_FAILURES:
                if response is None:
                    raise httpx.ReadError("the upload was interrupted repeatedly")
                self._check(response)
            time.sleep(min(_FIRST_DELAY_S * 2 ** (failures - 1), _MAX_DELAY_S))

    def _create(self) -> httpx.Response:
        name = base64.b64encode(self._name.encode()).decode()
        headers = {**_TUS, "Upload-Length": str(self._size), "Upload-Metadata": f"filename {name}"}
        return self._http.post("/v1/uploads", headers=headers)

    def _ask_and_send_rest(self) -> httpx.Response:
        state = self._http.head(self._url, headers=_TUS)
        if state.is_success and "upload-asset" not in state.headers:
            self._offset = int(state.headers["upload-offset"])
            return self._send_rest()
        return state

    def _send_rest(self) -> httpx.Response:
        self._file.seek(self._start + self._offset)
        rest = self._size - self._offset
        headers = {**_PATCH_HEADERS, "Upload-Offset": str(self._offset), "Content-Length": str(rest)}
        return self._http.patch(self._url, content=self._blocks(rest), headers=headers, timeout=600.0)

    def _blocks(self, rest: int) -> Iterator[bytes]:
        while rest > 0 and (block := self._file.read(min(_BLOCK_BYTES, rest))):
            rest -= len(block)
            yield block
