"""The health check of containers asks the right place and says it by its exit status."""

import http.server
import threading

import pytest

from deployments.stack import healthcheck
from tasks.settings import ApiSettings, get_settings


@pytest.fixture
def service():
    """A service that answers 200 at /healthz and 503 elsewhere."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/healthz" else 503)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("name", ["API_PORT", "MUSETALK_API__PORT", "PORT"])
def test_the_api_is_asked_on_the_port_in_force(monkeypatch, service, name):
    monkeypatch.setenv("API_HOST", "0.0.0.0")
    monkeypatch.setenv(name, str(service))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # is for others
    get_settings.cache_clear()

    assert healthcheck.main([]) == 0
    get_settings.cache_clear()


def test_who_is_unwell_or_not_there_is_unhealthy(service):
    assert healthcheck.main([f"http://127.0.0.1:{service}/health"]) == 1
    assert healthcheck.main(["http://127.0.0.1:1/healthz"]) == 1
    assert healthcheck.main(["http://no.such.name.invalid/"]) == 1


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("127.0.0.1", "http://127.0.0.1:1")],
)
def test_an_api_for_everybody_is_asked_at_this_computer(host, address):
    assert healthcheck.local_api_url(ApiSettings(host=host, port=1)) == address
