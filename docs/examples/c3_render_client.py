"""
A client of the C3 Render API, as it has always been: only the address is new.

    python c3_render_client.py http://127.0.0.1:8080 "Hello there." [KEY]
"""

import argparse
import json
import time
import urllib.error
import urllib.request


def call(server: str, path: str, key: str | None, body: dict[str, object] | None = None) -> dict[str, object]:
    """Send a request; with a body it is a POST."""
    headers = {"Content-Type": "application/json"} | ({"X-C3-RENDER-KEY": key} if key else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server}{path}", data=data, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def speak(server: str, text: str, key: str | None = None) -> str:
    """Queue a text to be spoken, ask for its status until it has ended, and give where the sound is."""
    job = call(server, "/csm", key, {"text": text, "max_time": 600})
    while (standing := call(server, f"/status/{job['id']}", key))["status"] in {"queued", "running"}:
        time.sleep(1)
    if standing["status"] != "success":
        raise SystemExit(f"{standing['status']}: {standing.get('error')}")
    return str(call(server, f"/result/{job['id']}", key)["result_url"])


def main() -> None:
    """Speak the text of the command line; an error is one line."""
    parser = argparse.ArgumentParser(description="Speak a text with the C3 Render API.")
    parser.add_argument("server", help="address of the API, such as http://127.0.0.1:8080")
    parser.add_argument("text", help="the text to speak")
    parser.add_argument("key", nargs="?", help="API key, if the server requires one")
    arguments = parser.parse_args()
    try:
        print(speak(arguments.server, arguments.text, arguments.key))
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{error.url} answered {error.code}: {error.read(1000).decode()}") from None
    except (OSError, ValueError) as error:  # not reachable, not an address, or another program's answer
        raise SystemExit(f"{arguments.server} cannot be used: {error}") from None


if __name__ == "__main__":
    main()
