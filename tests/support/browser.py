"""A real browser, and what it asked for: tests that want one skip by name where there is none."""

import os
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = "TEST_SHOTS"
"""Names a folder that keeps the screenshots; else they lie in the test's own."""


class Tab:
    """A page of the browser with its requests and complaints."""

    def __init__(self, page, folder):
        self.page, self.folder, self.asked, self.errors = page, folder, [], []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def shot(self, name):
        path = self.folder / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def elsewhere(self):
        """Addresses that were asked for and are not on this computer."""
        inside = ("data", "blob", "about")
        parts = [urlsplit(url) for url in self.asked]
        return [part.geturl() for part in parts if part.scheme not in inside and part.hostname != "127.0.0.1"]


@contextmanager
def running_browser():
    """A browser, which several tests may share; each has pages of its own."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.is_file():
        pytest.skip("no chromium on this computer")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        try:
            yield browser
        finally:
            browser.close()


def kept_folder(folder):
    """The folder for screenshots: a test's own, unless the environment names one."""
    kept = Path(os.environ.get(SHOTS) or folder)
    kept.mkdir(parents=True, exist_ok=True)
    return kept


@contextmanager
def browsing(folder, width=1400, height=1000):
    """A tab of a fresh browser."""
    with running_browser() as browser:
        yield Tab(browser.new_page(viewport={"width": width, "height": height}), kept_folder(folder))
