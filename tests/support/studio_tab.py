"""A tab of the studio: its storage is its own, and nothing may be blocked, fail or come from another host."""

import time
from contextlib import contextmanager

from browser import Tab, kept_folder

from api.dependencies import get_lineage_store, get_thumbnail_store, get_worker_store

NOTE_VIOLATIONS = (
    "document.addEventListener('securitypolicyviolation',"
    " event => noteViolation(`${event.violatedDirective} ${event.blockedURI}`))"
)


def policy_reports(app):
    """Number of violations of the studio's policy that browsers have reported to an app."""
    return app.state.metrics.registry.get_sample_value("musetalk_studio_policy_reports_total")


class MadeUpRecords:
    """Records that the job system keeps beside jobs: lineages and pictures by job, and workers."""

    def __init__(self):
        self.lineages, self.pictures, self.workers = {}, {}, []

    async def read_many(self, jobs):
        return {job: self.lineages[job] for job in jobs if job in self.lineages}

    async def read(self, job):
        return self.pictures.get(job)

    async def list_workers(self):
        return self.workers


def made_up_records(app):
    """Give an app records that a test fills; without them its routes would ask a Prefect server."""
    records = MadeUpRecords()
    for dependency in (get_lineage_store, get_thumbnail_store, get_worker_store):
        app.dependency_overrides[dependency] = lambda: records
    return records


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
