"""A tab of the studio: its storage is its own, and nothing may be blocked, fail or come from another host."""

import time
from contextlib import contextmanager

from browser import Tab, kept_folder

NOTE_VIOLATIONS = (
    "document.addEventListener('securitypolicyviolation',"
    " event => noteViolation(`${event.violatedDirective} ${event.blockedURI}`))"
)


@contextmanager
def studio_tab(browser, folder, width=1440, height=900, **options):
    """A tab in a context of its own; fails at its end if the page broke its policy or asked another host."""
    with browser.new_context(viewport={"width": width, "height": height}, **options) as context:
        tab, violations = Tab(context.new_page(), kept_folder(folder)), []
        context.expose_function("noteViolation", lambda text: violations.append(text))
        context.add_init_script(NOTE_VIOLATIONS)
        context.set_default_timeout(10_000)
        yield tab
        assert tab.errors == [] and violations == [] and tab.elsewhere() == []


def until(page, expression, seconds=10):
    """Wait for a JavaScript expression; Playwright's own wait needs eval, which the policy forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)
