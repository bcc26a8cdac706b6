"""Tenant of the current thread of work: set where work enters the system, checked where data is accessed."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Final

TENANT_TAG: Final = "tenant:"
"""Prefix of the tag of a run; the tenant's name follows."""


class _Unset(Enum):
    """No tenant was set: a plain thread, or code outside of a request and of a run."""

    UNSET = "unset"


_tenant: ContextVar[str | _Unset | None] = ContextVar("tenant", default=_Unset.UNSET)


def current_tenant() -> str | None:
    """Return the tenant; None for work without a tenant, and where none was set."""
    tenant = _tenant.get()
    return None if isinstance(tenant, _Unset) else tenant


def may_use(owner: str | None) -> bool:
    """
    Tell whether the current work may use data of an owner.

    Work for a tenant may use that tenant's data only. Work that was explicitly started without a tenant (a
    key without one) may use all data. Where no tenant was set, as in a plain thread, only data without an
    owner may be used.

    Args:
        owner: the tenant that owns the data; None for no owner.
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
        tenant: its name; None for no tenant.
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
        tenant: its name; None for no tenant.
    """
    _tenant.set(tenant)
