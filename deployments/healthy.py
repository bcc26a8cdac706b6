"""
Whether a service of this computer is well, for the health checks of containers: exit status 0 or 1.

`python -m deployments.healthy` asks the API, on the port in force; with an address it asks there.
"""

import sys
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

if TYPE_CHECKING:
    from tasks.settings import ApiSettings

LIMIT_S = 4.0


def own_address(api: "ApiSettings") -> str:
    """
    Return the address at which this computer reaches the API.

    Args:
        api: where it listens.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(api.host, api.host)  # noqa: S104  compared, not bound
    return f"http://{host}:{api.port}"


def is_healthy(url: str) -> bool:
    """
    Tell whether something answers with success.

    Args:
        url: where to ask.
    """
    ask = build_opener(ProxyHandler({})).open  # a proxy is for others, not for this computer
    try:
        with ask(url, timeout=LIMIT_S):  # 400 and above raise
            return True
    except (URLError, OSError):
        return False


def main(words: list[str]) -> int:
    """
    Ask, and return the exit status.

    Args:
        words: of the command line.
    """
    if words:
        return 0 if is_healthy(words[0]) else 1
    from tasks.settings import get_settings

    return 0 if is_healthy(f"{own_address(get_settings().api)}/healthz") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
