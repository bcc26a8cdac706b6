"""Limits of the webhook runs that a worker executes at a time: in all, per receiver and per tenant."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from flows.prefect_state.queue_order import tenant_of
from flows.schemas.webhook import RECEIVER_TAG_PREFIX

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_WEBHOOK_RUNS: Final = 64
"""Webhook runs that a worker executes at a time, each in a thread."""
MAX_PER_RECEIVER: Final = 8
"""Runs among them that send to the same host and port."""
MAX_PER_TENANT: Final = 32
"""Runs among them of the same tenant; deliveries without a tenant are not limited by this."""


class WebhookPlaces:
    """The places of the webhook runs of a worker. A slow receiver or tenant cannot occupy all of them."""

    def __init__(self) -> None:
        """Begin with all places free."""
        self._keys: dict[UUID | str, tuple[Hashable, ...]] = {}
        self._taken: Counter[Hashable] = Counter()
        self.has_refused = False
        """Whether a run has got no place since this was last set to False."""

    def take(self, holder: UUID | str, tags: Iterable[str]) -> bool:
        """
        Take a place.

        Args:
            holder: id of the run, or the key of a run that is being created.
            tags:   tags of the run, which name its receiver and its tenant.

        Returns:
            False if one of the limits is reached.
        """
        tags = list(tags)
        receiver = next((tag for tag in tags if tag.startswith(RECEIVER_TAG_PREFIX)), None)
        tenant = tenant_of(tags)
        limits: dict[Hashable, int] = {"all": MAX_WEBHOOK_RUNS}
        if receiver is not None:
            limits["receiver", receiver] = MAX_PER_RECEIVER
        if tenant is not None:
            limits["tenant", tenant] = MAX_PER_TENANT
        if holder in self._keys or any(self._taken[key] >= limit for key, limit in limits.items()):
            self.has_refused = True
            return False
        self._keys[holder] = tuple(limits)
        self._taken.update(limits.keys())
        return True

    def release(self, holder: UUID | str) -> None:
        """Release the place of a holder; without effect if it has none."""
        for key in self._keys.pop(holder, ()):
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]

    def rename(self, holder: UUID | str, new: UUID | str) -> None:
        """Give the place of a holder to another one."""
        if holder in self._keys:
            self._keys[new] = self._keys.pop(holder)

    def __contains__(self, holder: UUID | str) -> bool:
        """Return whether a holder has a place."""
        return holder in self._keys
