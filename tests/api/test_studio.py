"""The studio's page and files: who gets the page, its policy, caching, weight, and the vendored files."""

import gzip
import hashlib
import posixpath
import re
from pathlib import Path

import pytest

from api.studio.static_files import FOLDER, static_files

ROOT = Path(__file__).resolve().parents[2]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
VIEWS = ["/studio", "/studio/", "/studio/new", "/studio/jobs", "/studio/jobs/17", "/studio/settings"]
VENDOR_TABLES = [FOLDER / "vendor" / "README.md", ROOT / "tests" / "assets" / "axe" / "README.md"]
FIRST_VIEW_LIMIT = 120_000


def directives(answer):
    policy = answer.headers["content-security-policy"]
    return {name: values for name, *values in (part.split() for part in policy.split(";"))}


def page(client, path="/studio", **headers):
    return client.get(path, headers={"Accept": BROWSER} | headers)


@pytest.mark.parametrize("path", ["/", *VIEWS])
def test_browsers_get_the_page_at_the_address_of_every_view(client, path):
    answer = page(client, path)

    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == page(client).text and 'id="app"' in answer.text


def test_the_policy_allows_the_server_s_own_files_only(client):
    policy = directives(page(client))

    assert policy["default-src"] == policy["object-src"] == policy["base-uri"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["form-action"] == ["'none'"]
    assert policy["require-trusted-types-for"] == ["'script'"] and policy["trusted-types"] == ["'none'"]
    sources = {value for values in policy.values() for value in values}
    assert sources <= {"'none'", "'self'", "'script'", "blob:", "data:", "/studio/csp-report"}
    assert policy["report-uri"] == ["/studio/csp-report"]


def test_the_page_has_no_inline_script_or_style(client):
    text = page(client).text

    assert re.findall(r"<script(?![^>]* src=)", text) == [] and "<style" not in text
    assert re.findall(r"\s(?:style|on\w+)=", text) == []


def test_files_are_kept_for_a_year_at_an_address_of_this_release(client):
    [address] = re.findall(r'<script[^>]* src="([^"]+)"', page(client).text)
    answer, other = client.get(address), client.get(re.sub(r"/[0-9a-f]{16}/", "/0123456789abcdef/", address))

    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert other.headers["cache-control"] == "no-cache" and other.content == answer.content
    assert client.get(address, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_the_page_is_asked_for_again_and_not_sent_again(client):
    answer = page(client, "/")

    assert (
        answer.headers["cache-control"] == "no-cache" and answer.headers["vary"] == "Accept, Accept-Encoding"
    )
    assert page(client, "/", **{"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_answers_are_compressed_for_clients_that_accept_it(client):
    with client.stream("GET", "/studio", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    plain = client.get("/studio", headers={"Accept-Encoding": "identity"})

    assert answer.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content


@pytest.mark.parametrize(
    "path", ["nothing.js", "index.html", "../page.py", "%2e%2e/page.py", "vendor/README.md", "vendor"]
)
def test_only_the_studio_s_own_files_are_sent(client, path):
    answer = client.get(f"/studio/static/0123456789abcdef/{path}")

    assert answer.status_code == 404 or answer.headers["content-type"].startswith("text/html")
    assert "StaticFile" not in answer.text


def test_the_page_needs_no_key_and_holds_no_data(connect, environment):
    environment.setenv("MUSETALK_API__KEYS", "secret-key")
    guarded = connect()

    assert page(guarded).status_code == 200 and "secret-key" not in page(guarded).text
    assert guarded.get("/v1/jobs").status_code == 401


def imported_from(name, seen):
    """Modules that a module imports when it is loaded, itself included; views are imported later."""
    if name in seen:
        return seen
    seen.add(name)
    for found in re.findall(r'(?:from|import)\s+"(\.[^"]+)"', static_files()[name].content.decode()):
        imported_from(posixpath.normpath(posixpath.join(posixpath.dirname(name), found)), seen)
    return seen


def test_the_first_view_weighs_little(client):
    named = set(re.findall(r"/studio/static/[0-9a-f]{16}/([^\"]+)", page(client).text))
    loaded = named | imported_from("app.js", set())
    weight = sum(len(static_files()[name].compressed) for name in loaded) + len(
        gzip.compress(page(client).content)
    )

    assert loaded == named, "each module of the first view has a modulepreload in index.html"
    assert {"app.js", "studio.css", "views/new_job.js"} <= loaded and "views/job.js" not in loaded
    assert weight <= FIRST_VIEW_LIMIT, weight


def test_every_import_names_a_file():
    for name, file in static_files().items():
        for found in re.findall(r'(?:from |import\()"(\.[^"]+)"', file.content.decode()):
            target = (FOLDER / name).parent / found
            assert target.is_file(), f"{name}: {found}"


def test_no_file_makes_html_of_text_or_names_another_host():
    own = {name: file.content.decode() for name, file in static_files().items() if "vendor/" not in name}
    for name, text in own.items():
        assert (
            re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
            == []
        )
        hosts = set(re.findall(r"https?://([a-z0-9.-]+)", text)) - {"www.w3.org"}
        assert hosts == set(), name


@pytest.mark.parametrize("table", VENDOR_TABLES, ids=["studio", "axe"])
def test_vendored_files_are_those_of_the_table(table):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.read_text().splitlines()]
    listed = {row[0]: row for row in rows if len(row) == 7 and row[0].endswith(".js")}

    assert set(listed) == {path.name for path in table.parent.glob("*.js")}
    for name, (_, _, version, _, licence, integrity, sha256) in listed.items():
        assert hashlib.sha256((table.parent / name).read_bytes()).hexdigest() == sha256
        assert re.fullmatch(r"\d+\.\d+\.\d+", version) and licence
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", integrity)
    assert list(table.parent.glob("LICENSE*"))


def test_third_party_software_lists_the_vendored_files():
    listed = (ROOT / "THIRD_PARTY.md").read_text()

    assert "| htm 3.1.1 with Preact, in `api/studio/static/vendor` | Apache-2.0, MIT |" in listed
    assert "| axe-core 4.14.1, in `tests/assets/axe` (tests only) | MPL-2.0 |" in listed
