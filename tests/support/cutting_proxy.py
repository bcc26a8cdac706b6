"""A TCP proxy that breaks connections in the middle of an upload."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit

BLOCK = 1 << 16


class CuttingProxy:
    """Forwards to a server, and breaks each of the first `cuts` connections that carry a PATCH."""

    def __init__(self, target: str, cuts: int, after_bytes: int) -> None:
        self.target, self.left, self.after_bytes = urlsplit(target), cuts, after_bytes
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((self.target.hostname, self.target.port))
                threading.Thread(target=self._upstream, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client), daemon=True).start()

    def _upstream(self, client: socket.socket, server: socket.socket) -> None:
        """Forward what the client sends; count the bytes from the first PATCH on."""
        sent, uploads = 0, False
        with contextlib.suppress(OSError):
            while block := client.recv(BLOCK):
                uploads = uploads or b"PATCH /v1/uploads/" in block
                sent += len(block) if uploads else 0
                server.sendall(block)
                if sent > self.after_bytes and self._take_cut():
                    for one in (client, server):
                        one.shutdown(socket.SHUT_RDWR)  # close alone waits for the thread that reads
                        one.close()
                    return
            server.shutdown(socket.SHUT_WR)

    def _take_cut(self) -> bool:
        with self._lock:
            self.left -= 1
            return self.left >= 0

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK):
                target.sendall(block)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
