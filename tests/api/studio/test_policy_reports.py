"""Reports of violations of the studio's policy: sent by a real browser, counted, logged, and limited."""

import json
import logging

import pytest
from studio_tab import policy_reports

from api.studio.policy_reports import MAX_PER_MINUTE

PATH = "/studio/csp-report"
TYPE = {"Content-Type": "application/csp-report"}
REPORT = {
    "csp-report": {
        "document-uri": "http://127.0.0.1:8080/studio/jobs?tag=private",
        "effective-directive": "img-src",
        "blocked-uri": "https://foreign.example/\n2026 forged line",
        "source-file": "http://127.0.0.1:8080/studio/static/x/app.js",
        "line-number": 17,
    }
}

pytestmark = pytest.mark.usefixtures("reports_expected")


def test_a_browser_reports_what_the_policy_forbids(server, app_of_server, browser):
    page = browser.new_page()
    page.goto(f"{server}/studio/settings")
    page.locator("h1").wait_for()
    with page.expect_response(f"**{PATH}") as answer:
        page.evaluate(
            "document.body.append(Object.assign(new Image(), {src: 'https://foreign.example/x.png'}))"
        )
    assert answer.value.status == 204 and policy_reports(app_of_server) == 1
    with page.expect_response(f"**{PATH}"):
        page.evaluate("document.head.append(document.createElement('style'))")
        page.evaluate("document.querySelector('style').textContent = 'p {}'")
    assert policy_reports(app_of_server) >= 2
    page.close()


def test_a_report_is_logged_on_one_line_without_the_query(client, caplog):
    caplog.set_level(logging.WARNING, "musetalk.api")
    answer = client.post(PATH, content=json.dumps(REPORT), headers=TYPE)

    assert answer.status_code == 204
    [line] = [one.getMessage() for one in caplog.records if "policy" in one.getMessage()]
    assert line == (
        "content security policy violated: img-src blocked https://foreign.example/\\n2026 forged line"
        " on /studio/jobs, /studio/static/x/app.js:17"
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"csp-report": 7}', b"\xff\xfe", b"[" * 5000])
def test_what_is_no_report_is_refused_and_not_counted(client, body):
    answer = client.post(PATH, content=body, headers=TYPE)

    assert answer.status_code == 400 and policy_reports(client.app) == 0


def test_a_report_is_small(client):
    long = {"csp-report": {"blocked-uri": "x" * 20_000}}
    answer = client.post(PATH, content=json.dumps(long), headers=TYPE)
    assert (answer.status_code, answer.json()["code"]) == (413, "input_too_large")
    assert client.post(PATH, content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415


def test_more_reports_than_the_rate_are_dropped(client, caplog):
    caplog.set_level(logging.WARNING, "musetalk.api")
    answers = [client.post(PATH, json=REPORT).status_code for _ in range(MAX_PER_MINUTE + 5)]

    assert answers == [204] * MAX_PER_MINUTE + [429] * 5
    assert policy_reports(client.app) == MAX_PER_MINUTE
    assert len([one for one in caplog.records if "policy violated" in one.getMessage()]) == MAX_PER_MINUTE


def test_reports_need_no_key_and_give_nothing_away(connect, environment):
    environment.setenv("MUSETALK_API__KEYS", "secret-key")
    answer = connect().post(PATH, json=REPORT)
    assert answer.status_code == 204 and answer.content == b""
