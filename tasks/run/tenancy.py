"""Tenant of the current context: set where a request or run enters the system, checked on data access."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Final

TENANT_TAG: Final = "tenant:"
"""Prefix of a run's tag that names its tenant."""


class _Unset(Enum):
    """Marker for contexts where no tenant was set: plain threads, and code outside of requests and runs."""

    UNSET = "unset"


_tenant: ContextVar[str | _Unset | None] = ContextVar("tenant", default=_Unset.UNSET)


def current_tenant() -> str | None:
    """Return the current tenant; None for work without a tenant, and where no tenant was set."""
    tenant = _tenant.get()
    return None if isinstance(tenant, _Unset) else tenant


def may_use(owner: str | None) -> bool:
    """
    Return whether the current context may use an owner's data.

    Work for a tenant may use only that tenant's data. Work that was explicitly started without a tenant (by
    an API key without one) may use all data. Where no tenant was set, as in a plain thread, only data without
    an owner may be used.

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
    Set the tenant inside the `with` block, and in the coroutines and Prefect tasks that it starts.

    Plain threads do not inherit it: see `may_use`.

    Args:
        tenant: name of the tenant; None for no tenant.
    """
    token = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(token)


def set_current_tenant(tenant: str | None) -> None:
    """
    Set the tenant until the current context ends. Every request has a context of its own.

    Args:
        tenant: name of the tenant; None for no tenant.
    """
    _tenant.set(tenant)
