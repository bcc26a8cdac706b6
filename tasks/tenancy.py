"""On whose behalf this thread works: set at the borders, asked where grants are checked."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

TENANT_TAG: Final = "tenant:"
"""Tag of a run; whose it is follows."""

_tenant: ContextVar[str | None] = ContextVar("tenant", default=None)


def current_tenant() -> str | None:
    """Return the tenant; None for nobody in particular."""
    return _tenant.get()


@contextmanager
def on_behalf_of(tenant: str | None) -> Generator[None]:
    """
    Work for a tenant inside the body, and in the threads and tasks that it starts.

    Args:
        tenant: its name; None for nobody in particular.
    """
    token = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(token)
