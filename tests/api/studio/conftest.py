"""A browser for the tests of a file, with records of jobs and a tab of the studio for each test."""

import pytest
from browser import running_browser
from studio_tab import made_up_records, policy_reports, studio_tab


@pytest.fixture(autouse=True)
def records(request):
    if "issue" in request.fixturenames:
        request.getfixturevalue("issue")  # the app reads the setting of the key file when it is made
    for name in ("key_or_none", "with_redirects"):  # these change settings, too
        if name in request.fixturenames:
            request.getfixturevalue(name)
    return made_up_records(request.getfixturevalue("app_of_server"))


@pytest.fixture(autouse=True)
def no_policy_reports(request, records, app_of_server):
    """No test breaks the policy, unless it is about reports."""
    yield
    if "reports_expected" not in request.fixturenames:
        assert policy_reports(app_of_server) == 0


@pytest.fixture
def reports_expected():
    """Marks a test that breaks the policy on purpose."""


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


@pytest.fixture
def tab(browser, tmp_path):
    with studio_tab(browser, tmp_path) as tab:
        yield tab
