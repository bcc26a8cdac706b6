"""ASGI middleware for an API behind a proxy that serves it below a path, such as https://example.com/render/."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class PathPrefix:
    """
    Serves the app below a prefix; the proxy may forward the prefix or remove it.

    Routes, access checks and metrics see paths without the prefix. URLs in responses contain it: absolute
    ones because of `root_path`, and paths in `Location` because they are completed here.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        """
        Wrap an app.

        Args:
            app:    the next ASGI app.
            prefix: path that starts with a slash and does not end with one.
        """
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            path = path[len(self._prefix) :] or "/"

        async def send_with_prefix(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                location = headers.get("location", "")
                if location.startswith("/") and not location.startswith("//"):
                    headers["location"] = self._prefix + location
            await send(message)

        await self._app({**scope, "path": path, "root_path": self._prefix}, receive, send_with_prefix)


def path_prefix(scope: Scope) -> str:
    """Return the prefix below which a client reaches the API; empty without one."""
    prefix: str = scope.get("root_path", "")
    return prefix
