"""Up to when a task that renders what is new has looked: a variable of Prefect's, which people can edit."""

import hashlib
from datetime import datetime
from typing import Any

from prefect.variables import Variable

from flows.chains.patience import patiently


def variable(name: str, tenant: str | None) -> str:
    """
    Return what the variable of a task is called.

    Args:
        name:   of the task.
        tenant: whose it is; tasks of different ones may have the same name.
    """
    owner = f"_{hashlib.sha256(tenant.encode()).hexdigest()[:8]}" if tenant else ""
    return f"musetalk_new{owner}_{name.replace('-', '_')}"


def recall(name: str, tenant: str | None) -> datetime | None:
    """Return up to when the task has looked; None when it never has, or the variable is no time."""
    known: Any = patiently(lambda: Variable.get(variable(name, tenant), default=None))
    try:
        found = datetime.fromisoformat(str(known))
    except ValueError:
        return None
    return found if found.tzinfo else None


def note(name: str, tenant: str | None, until: datetime) -> None:
    """Remember up to when it has looked, unless it has looked further meanwhile."""
    known = recall(name, tenant)
    if known is None or known < until:
        patiently(lambda: Variable.set(variable(name, tenant), until.isoformat(), overwrite=True))
