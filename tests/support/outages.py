"""A TCP proxy with outages: for a time it breaks all connections and refuses new ones."""

import contextlib
import socket
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

BLOCK = 1 << 16


class OutageProxy:
    """Forwards connections to a server, except during an outage."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.outages = 0
        self._ends_at = 0.0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def fail_for(self, seconds: float) -> None:
        """Break all connections, and refuse new ones for a time."""
        with self._lock:
            self.outages += 1
            self._ends_at = time.monotonic() + seconds
            broken, self._open = self._open, set()
        for one in broken:
            self._close(one)

    def close(self) -> None:
        """Stop accepting connections."""
        self.listener.close()
        self.fail_for(0)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if time.monotonic() < self._ends_at:
                    client.close()
                    continue
                server = socket.create_connection((self.target.hostname, self.target.port))
                with self._lock:
                    self._open |= {client, server}
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK):
                target.sendall(block)
        for one in (source, target):
            self._close(one)

    @staticmethod
    def _close(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)  # close alone waits for the thread that reads
        one.close()


@contextmanager
def outage_proxy(target: str):
    """Give a proxy to a server, and close it."""
    proxy = OutageProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
