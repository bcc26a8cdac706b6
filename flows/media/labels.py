"""The label of a job's output: as the job asks, or as the settings require for its tenant."""

from typing import Final

from flows.schemas.label import LabelLanguage, MediaLabel
from musetalk_core.media.image.corner_label import CornerLabel
from musetalk_core.media.image.opening_card import OpeningCard
from tasks.settings import get_settings

_TEXTS: Final[dict[LabelLanguage, str]] = {
    "en": "AI-generated",
    "de": "KI-generiert",
    "es": "Generado por IA",
    "fr": "Généré par IA",
    "it": "Generato dall'IA",
    "nl": "Gegenereerd door AI",
    "pl": "Wygenerowane przez AI",
    "pt": "Gerado por IA",
}
_NOTICE: Final = "The following voice is computer generated."
_ALL_TENANTS: Final = "*"
_CARD_SIZE_FACTOR: Final = 2
"""Size of the text of an opening card, in sizes of the option."""


def is_required(tenant: str | None) -> bool:
    """Return whether the settings require a label for the jobs of a tenant; None = no tenant."""
    required = get_settings().mark.label_tenants
    return _ALL_TENANTS in required or (tenant is not None and tenant in required)


def corner_label(label: MediaLabel, tenant: str | None) -> CornerLabel | None:
    """Return the label of a job's pictures; None = none."""
    if label.show != "corner" and (label.show == "opening" or not is_required(tenant)):
        return None
    text = label.text if label.show == "corner" else None
    return CornerLabel(text or _TEXTS[label.language], label.corner, label.size)


def opening_card(label: MediaLabel) -> OpeningCard | None:
    """Return the card over the first seconds of a job's video; None = none."""
    if label.show != "opening":
        return None
    text = label.text or _TEXTS[label.language]
    return OpeningCard(text, label.seconds, _CARD_SIZE_FACTOR * label.size)


def spoken_notice(label: MediaLabel, tenant: str | None, *, has_picture: bool = False) -> list[str]:
    """
    Return the texts to speak before a job's texts or recording: one or none.

    Args:
        label:       option of the job.
        tenant:      tenant of the job.
        has_picture: the required label of the tenant is in the picture, so that none has to be spoken.
    """
    if label.show == "spoken":
        return [label.text or _NOTICE]
    return [_NOTICE] if is_required(tenant) and not has_picture else []
