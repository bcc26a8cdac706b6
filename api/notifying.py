"""Validation of webhook addresses at submission; each delivery validates the address again."""

from pydantic import ValidationError

from api.problems import Problem
from flows.control import Notify
from tasks.egress import is_allowed_url
from tasks.settings import get_settings


def parse_notify_url(url: str) -> Notify | None:
    """
    Parse `notify_url` of the compatibility routes.

    Args:
        url: value of the field.

    Returns:
        The webhook; None if webhooks may not be sent to this address.
    """
    try:
        notify = Notify(url=url)
    except ValidationError:
        return None
    return notify if _is_allowed_address(notify) else None


def validate_notify(notify: Notify) -> Notify:
    """
    Return a webhook after checking that its address is allowed.

    Args:
        notify: the webhook of a submission.

    Raises:
        Problem: `invalid_input` if the scheme, host or port of the address is not allowed.
    """
    if not _is_allowed_address(notify):
        raise Problem(
            "invalid_input",
            "Webhooks cannot be sent to this address.",
            errors=[
                {
                    "pointer": "#/control/notify/url",
                    "code": "invalid_input",
                    "detail": "The scheme, host or port of this address is not allowed.",
                }
            ],
        )
    return notify


def _is_allowed_address(notify: Notify) -> bool:
    return is_allowed_url(notify.url, get_settings().egress)
