"""Settings of the metrics for Prometheus."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from tasks.settings.field_types import SettingsGroup, Strings

NO_TENANT: Final = "none"
"""Class of jobs without a tenant."""
OTHER_TENANTS: Final = "other"
"""Class of tenants that the setting does not list."""
_MAX_CLASSES: Final = 10
_ENTRY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}=[a-z][a-z0-9_]{0,31}")


def _check_classes(entries: tuple[str, ...]) -> tuple[str, ...]:
    for entry in entries:
        if not _ENTRY.fullmatch(entry):
            raise ValueError(
                f"{entry[:80]!r} is not TENANT=CLASS; a class has lowercase letters, digits and _, and"
                " at most 32 characters"
            )
    if len({entry.partition("=")[2] for entry in entries}) > _MAX_CLASSES:
        raise ValueError(f"more than {_MAX_CLASSES} classes; each is a value of a label")
    return entries


class MetricsSettings(SettingsGroup, frozen=True):
    """Labels of the metrics. See docs/how-to/monitoring.md."""

    tenant_classes: Annotated[Strings, AfterValidator(_check_classes)] = Field(
        default=(),
        description="TENANT=CLASS for each tenant whose waiting jobs are counted in a class of their own, as"
        " in acme=gold,umbrella=gold. At most ten classes. Other tenants count as other, jobs without a"
        " tenant as none.",
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, in a fixed order."""
        named = sorted({entry.partition("=")[2] for entry in self.tenant_classes})
        return tuple(dict.fromkeys((NO_TENANT, OTHER_TENANTS, *named)))

    def class_of(self, tenant: str | None) -> str:
        """Return the class of a tenant; None: no tenant."""
        if tenant is None:
            return NO_TENANT
        by_tenant = dict(entry.split("=", 1) for entry in self.tenant_classes)
        return by_tenant.get(tenant, OTHER_TENANTS)
