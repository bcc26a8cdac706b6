"""
Watermark of a bucket watch: time up to which objects were processed, as a Prefect variable.

The variable can be edited in Prefect's pages.
"""

import hashlib
from datetime import datetime
from typing import Any

from prefect.variables import Variable

from flows.chains.patience import patiently


def variable(name: str, tenant: str | None) -> str:
    """
    Return the name of the Prefect variable of a watch.

    Args:
        name:   name of the watch.
        tenant: its tenant; watches of different tenants may have equal names.
    """
    owner = f"_{hashlib.sha256(tenant.encode()).hexdigest()[:8]}" if tenant else ""
    return f"musetalk_new{owner}_{name.replace('-', '_')}"


def recall(name: str, tenant: str | None) -> datetime | None:
    """Return the stored watermark; None if there is none or it is not a time with a time zone."""
    known: Any = patiently(lambda: Variable.get(variable(name, tenant), default=None))
    try:
        found = datetime.fromisoformat(str(known))
    except ValueError:
        return None
    return found if found.tzinfo else None


def note(name: str, tenant: str | None, until: datetime) -> None:
    """Store the watermark, unless a later one is already stored."""
    known = recall(name, tenant)
    if known is None or known < until:
        patiently(lambda: Variable.set(variable(name, tenant), until.isoformat(), overwrite=True))
