"""Which addresses may be told by webhook. Judged here for an early answer, and again at every delivery."""

from pydantic import ValidationError

from api.problems import Problem
from flows.control import Notify
from tasks.egress import is_usable_address
from tasks.settings import get_settings


def notify_by(url: str) -> Notify | None:
    """
    Read the older service's `notify_url`.

    Args:
        url: what was sent.

    Returns:
        Who is to be told of the job's end; None when nothing would ever be sent there.
    """
    try:
        notify = Notify(url=url)
    except ValidationError:
        return None
    return notify if _is_usable(notify) else None


def checked_notify(notify: Notify) -> Notify:
    """
    See that a webhook has a chance to be sent.

    Args:
        notify: as it was asked for.

    Raises:
        Problem: `invalid_input`, when its address is of a kind that is never used.
    """
    if not _is_usable(notify):
        raise Problem(
            "invalid_input",
            "Webhooks do not go to this address.",
            errors=[
                {
                    "pointer": "#/control/notify/url",
                    "code": "invalid_input",
                    "detail": "Its scheme, host or port is not among those this service may use.",
                }
            ],
        )
    return notify


def _is_usable(notify: Notify) -> bool:
    return is_usable_address(notify.url, get_settings().egress)
