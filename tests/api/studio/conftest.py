"""A browser for the tests of a file, with records of jobs and a tab of the studio for each test."""

import pytest
from browser import running_browser
from studio_tab import made_up_records, studio_tab


@pytest.fixture(autouse=True)
def records(request):
    if "issue" in request.fixturenames:
        request.getfixturevalue("issue")  # the app reads the setting of the key file when it is made
    return made_up_records(request.getfixturevalue("app_of_server"))


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


@pytest.fixture
def tab(browser, tmp_path):
    with studio_tab(browser, tmp_path) as tab:
        yield tab
