"""The documentation pages in a real browser: rendered, guarded, and without requests to other hosts."""

from urllib.parse import urlsplit

import pytest
from browser import browsing

GUARDS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


@pytest.fixture
def tab(tmp_path):
    with browsing(tmp_path) as tab:
        yield tab


def guarded(response):
    headers = response.all_headers()
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert {name: headers[name] for name in GUARDS} == GUARDS


def test_every_route_is_shown_without_a_network(server, tab):
    guarded(tab.page.goto(f"{server}/docs"))
    tab.page.locator("#operations-jobs-submit_lip_sync").wait_for()
    titles = tab.page.locator("h3.opblock-tag").all_inner_texts()
    tab.shot("docs")
    assert titles[0].startswith("jobs") and titles[-1].startswith("compatibility routes")

    tab.page.locator("#operations-jobs-submit_lip_sync .opblock-summary-control").click()
    tab.page.get_by_text("s3://media/avatars/anna.mp4").first.wait_for()
    tab.shot("docs-lip-sync")
    assert tab.page.locator("#operations-jobs-read_lineage_v1_jobs__job_id__lineage_get").count() == 1
    assert tab.asked and tab.elsewhere() == [] and tab.errors == []


@pytest.mark.parametrize("scheme", [0, 1], ids=["bearer", "header"])
def test_a_key_is_entered_once_and_sent_with_every_request(issue, app_of_server, server, tab, scheme):
    key = issue("tester", tenant="acme")["Authorization"].removeprefix("Bearer ")
    tab.page.goto(f"{server}/docs")

    def listed():
        with tab.page.expect_response(lambda answer: urlsplit(answer.url).path == "/v1/jobs") as found:
            route.get_by_role("button", name="Execute").click()
        return found.value.status

    route = tab.page.locator("#operations-jobs-list_jobs_v1_jobs_get")
    route.locator(".opblock-summary-control").click()
    route.get_by_role("button", name="Try it out").click()
    assert listed() == 401
    tab.page.get_by_role("button", name="Authorize").first.click()
    form = tab.page.locator(".auth-container").nth(scheme)
    form.locator("input").fill(key)
    form.get_by_role("button", name="Apply credentials").click()
    tab.shot(f"docs-authorize-{scheme}")
    tab.page.locator(".close-modal").click()
    assert listed() == 200
    assert tab.elsewhere() == [] and tab.errors == []


def test_problems_are_listed_and_a_link_leads_to_one(server, tab):
    guarded(tab.page.goto(f"{server}/docs/problems#not_ready"))
    row = tab.page.locator("tr#not_ready")
    assert "409" in row.inner_text()
    assert row.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(255, 243, 196)"
    tab.shot("problems")
    assert tab.elsewhere() == [] and tab.errors == []
