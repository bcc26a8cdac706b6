"""
Watermark of a bucket watch: time up to which objects were processed, as a Prefect variable.

The variable can be edited in Prefect's pages.
"""

import hashlib
from datetime import datetime
from typing import Any

from prefect.variables import Variable

from tasks.run.retry import retry_while_unavailable


def variable_name(name: str, tenant: str | None) -> str:
    """
    Return the name of the Prefect variable of a watch.

    Args:
        name:   name of the watch.
        tenant: its tenant; watches of different tenants may have equal names.
    """
    owner = f"_{hashlib.sha256(tenant.encode()).hexdigest()[:8]}" if tenant else ""
    return f"musetalk_new{owner}_{name.replace('-', '_')}"


def load(name: str, tenant: str | None) -> datetime | None:
    """Return the stored watermark; None if there is none or it is not a time with a time zone."""
    stored: Any = retry_while_unavailable(lambda: Variable.get(variable_name(name, tenant), default=None))
    try:
        watermark = datetime.fromisoformat(str(stored))
    except ValueError:
        return None
    return watermark if watermark.tzinfo else None


def save(name: str, tenant: str | None, until: datetime) -> None:
    """
    Store the watermark, unless a later one is already stored.

    Args:
        name:   name of the watch.
        tenant: its tenant, or None.
        until:  time up to which objects were processed, with a time zone.
    """
    stored = load(name, tenant)
    if stored is None or stored < until:
        retry_while_unavailable(
            lambda: Variable.set(variable_name(name, tenant), until.isoformat(), overwrite=True)
        )
