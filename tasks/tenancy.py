"""Tenant of the current thread of work: set where work enters the system, checked where data is accessed."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Final

TENANT_TAG: Final = "tenant:"
"""Tag of a run; whose it is follows."""


class _Unset(Enum):
    """No border has set a tenant: a plain thread, or code outside of a request and of a run."""

    UNSET = "unset"


_tenant: ContextVar[str | _Unset | None] = ContextVar("tenant", default=_Unset.UNSET)


def current_tenant() -> str | None:
    """Return the tenant; None for nobody in particular, and where none was set."""
    tenant = _tenant.get()
    return None if isinstance(tenant, _Unset) else tenant


def may_use(owner: str | None) -> bool:
    """
    Tell whether the current work may use what belongs to a tenant.

    Work for a tenant uses only what is that tenant's. Work that was expressly begun for nobody in particular
    (a key without a tenant) uses everything. Where no tenant was set, as in a plain thread, only what belongs
    to nobody may be used.

    Args:
        owner: the tenant it belongs to; None for nobody in particular.
    """
    tenant = _tenant.get()
    if isinstance(tenant, _Unset):
        return owner is None
    return tenant is None or owner == tenant


@contextmanager
def on_behalf_of(tenant: str | None) -> Generator[None]:
    """
    Work for a tenant inside the body, and in the coroutines and Prefect tasks that it starts.

    Plain threads do not inherit it: see `may_use`.

    Args:
        tenant: its name; None for nobody in particular.
    """
    token = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(token)


def work_for(tenant: str | None) -> None:
    """
    Work for a tenant from now on, until the current context ends: a request has a context of its own.

    Args:
        tenant: its name; None for nobody in particular.
    """
    _tenant.set(tenant)
