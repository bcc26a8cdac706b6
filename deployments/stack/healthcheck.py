"""
Health check of a service on this computer, for containers: exit status 0 if it is healthy, else 1.

Run as a module without arguments, it requests /healthz of the API on the configured port; with a URL, that
URL.
"""

import sys
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

if TYPE_CHECKING:
    from tasks.settings import ApiSettings

TIMEOUT_S = 4.0


def local_api_url(api: "ApiSettings") -> str:
    """
    Return the URL of the API on this computer.

    Args:
        api: host and port on which the API listens.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(api.host, api.host)  # noqa: S104  compared, not bound
    return f"http://{host}:{api.port}"


def is_healthy(url: str) -> bool:
    """
    Return whether a URL responds with a status below 400 within 4 s.

    Args:
        url: URL to request.
    """
    open_url = build_opener(ProxyHandler({})).open  # never use a proxy for this computer
    try:
        with open_url(url, timeout=TIMEOUT_S):  # raises for status 400 and above
            return True
    except (URLError, OSError):
        return False


def main(arguments: list[str]) -> int:
    """
    Run the health check and return the exit status.

    Args:
        arguments: command-line arguments: none, or the URL to request.
    """
    if arguments:
        return 0 if is_healthy(arguments[0]) else 1
    from tasks.settings import get_settings

    return 0 if is_healthy(f"{local_api_url(get_settings().api)}/healthz") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
