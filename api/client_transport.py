"""HTTP transports of the API client: root certificates are loaded at the first https request."""

import ssl
from functools import cached_property
from typing import Final

import httpx

# shorter than the server's keep-alive of 5 s, so that no request uses a connection that is closing
_LIMITS: Final = httpx.Limits(keepalive_expiry=4.0)


def http_client(server: str, headers: dict[str, str]) -> httpx.Client:
    """
    Return a client that ignores proxies of the environment, with a timeout of 60 seconds.

    Loading the certificates takes longer than a request to an API on the same computer, which uses http and
    needs none. The first request to an https address loads them, that of a redirect too.

    Args:
        server:  address of the API, with a scheme.
        headers: headers of all requests.
    """
    no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # only for http: https has its own transport
    return httpx.Client(
        base_url=server,
        headers=headers,
        timeout=60.0,
        trust_env=False,
        transport=httpx.HTTPTransport(verify=no_certificates, limits=_LIMITS, trust_env=False),
        mounts={"https://": _HttpsTransport()},
    )


class _HttpsTransport(httpx.BaseTransport):
    """A transport with the usual root certificates, which is created for the first request."""

    @cached_property
    def _made(self) -> httpx.HTTPTransport:
        return httpx.HTTPTransport(limits=_LIMITS, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        return self._made.handle_request(request)

    def close(self) -> None:
        """Close the connections, if there are any."""
        if "_made" in self.__dict__:
            self._made.close()
