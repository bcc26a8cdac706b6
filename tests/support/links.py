"""TCP proxies on loopback that can cut or freeze what they forward: partitions between processes."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

_BLOCK = 1 << 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Links:
    """The event loop, in a thread of its own, that all links of a test share."""

    def __init__(self) -> None:
        """Start the thread; `close` ends it."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        """End the thread and all connections with it."""
        self.call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @staticmethod
    async def _cancel_all() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)


@contextlib.contextmanager
def linking() -> Iterator[Links]:
    """Provide links for as long as the body runs."""
    links = Links()
    try:
        yield links
    finally:
        links.close()


class Link:
    """A port that forwards to one of several ports, in turns, as a service of Kubernetes does."""

    def __init__(self, links: Links, *targets: int) -> None:
        """Listen on a free port and forward to the targets; one that refuses is passed over."""
        self._links, self._targets, self._turn = links, targets, 0
        self._connections: set[asyncio.StreamWriter] = set()
        self._is_cut, self.requests = False, 0
        """Requests of HTTP that were forwarded."""
        self.port = links.call(self._listen())

    def cut(self) -> None:
        """Reset all connections, and each new one at once."""
        self._links.call(self._cut())

    def freeze(self) -> None:
        """Forward nothing: connections stay open, and their bytes wait, as behind a broken router."""
        self._links.call(self._set_open(False))

    def heal(self) -> None:
        """Forward again."""
        self._links.call(self._set_open(True))

    async def _listen(self) -> int:
        self._open = asyncio.Event()
        self._open.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        self._is_cut = True
        for writer in list(self._connections):
            _reset(writer)

    async def _set_open(self, is_open: bool) -> None:
        self._is_cut = False
        (self._open.set if is_open else self._open.clear)()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            _reset(writer)
            return
        self._connections.add(writer)
        try:
            await self._open.wait()
            remote = await self._connect()
            if remote is None:
                _reset(writer)
                return
            self._connections.add(remote[1])
            try:
                await asyncio.gather(
                    self._pump(reader, remote[1], counts=True), self._pump(remote[0], writer)
                )
            except (OSError, asyncio.IncompleteReadError):
                _reset(writer)
                _reset(remote[1])
            except asyncio.CancelledError:  # the test has ended
                return
            finally:
                self._connections.discard(remote[1])
                remote[1].close()
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._targets:
            self._turn += 1
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(
                    "127.0.0.1", self._targets[self._turn % len(self._targets)]
                )
        return None

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False
    ) -> None:
        while block := await reader.read(_BLOCK):
            await self._open.wait()
            self.requests += block.count(b" HTTP/1.1\r\n") if counts else 0
            writer.write(block)
            await writer.drain()
        await self._open.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, so that the other end notices at once and sends nothing more."""
    with contextlib.suppress(OSError):
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
