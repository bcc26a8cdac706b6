"""The option `label`: bounds, and jobs that cannot have it."""

import pytest
from pydantic import ValidationError

from flows.media.labels import corner_label, opening_card, spoken_notice
from flows.schemas.label import MediaLabel
from flows.schemas.speech import SpeechJob
from flows.schemas.video import LipSyncJob, PortraitJob
from tasks.settings import get_settings

VIDEO = {"video": "s3://media/a.mp4", "audio": "s3://media/a.wav"}


@pytest.fixture(autouse=True)
def fresh_settings():
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.parametrize(
    "text", ["", " ", "a\nb", "a\x00b", "\x1b[31mred", "a" * 81, "\u202eevil", "\u05d0", "\u0627", "\ud800"]
)
def test_hostile_texts_are_refused(text):
    with pytest.raises(ValidationError):
        MediaLabel(show="corner", text=text)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (LipSyncJob, {**VIDEO, "label": {"show": "spoken", "language": "de"}}),
        (PortraitJob, {"image": "s3://m/a.png", "text": "Hi.", "label": {"show": "spoken", "text": ""}}),
        (SpeechJob, {"text": "Hello.", "label": {"show": "corner"}}),
        (SpeechJob, {"text": "Hello.", "label": {"show": "opening"}}),
        (LipSyncJob, {**VIDEO, "label": {"show": "opening", "seconds": 0.5}}),
        (SpeechJob, {"text": "Hello.", "label": {"show": "spoken", "language": "de"}}),
        (LipSyncJob, {**VIDEO, "label": {"show": "corner", "size": 1.0}}),
        (LipSyncJob, {**VIDEO, "label": {"show": "corner", "color": "red"}}),
    ],
)
def test_a_label_that_an_output_cannot_have_is_refused(kind, fields):
    with pytest.raises(ValidationError):
        kind(**fields)


def test_there_is_no_label_by_default():
    job = LipSyncJob(**VIDEO)

    assert corner_label(job.label, None) is None and opening_card(job.label) is None
    assert spoken_notice(SpeechJob(text="Hello.").label, None) == []


def test_text_and_language_are_the_client_s():
    assert corner_label(MediaLabel(show="corner", language="de"), None).text == "KI-generiert"
    assert corner_label(MediaLabel(show="corner", text="Clone"), None).text == "Clone"
    assert spoken_notice(MediaLabel(show="spoken", text="A clone."), None) == ["A clone."]
    card = opening_card(MediaLabel(show="opening", language="fr", size=5, seconds=2))
    assert (card.text, card.size_percent, card.seconds) == ("Généré par IA", 10, 2)


@pytest.mark.parametrize(
    ("listed", "tenant", "required"),
    [("acme", "acme", True), ("acme", "b", False), ("acme", None, False), ("*", None, True)],
)
def test_a_setting_requires_a_label_for_a_tenant(monkeypatch, listed, tenant, required):
    monkeypatch.setenv("MUSETALK_MARK__LABEL_TENANTS", listed)
    get_settings.cache_clear()

    assert (corner_label(MediaLabel(), tenant) is not None) == required
    assert bool(spoken_notice(MediaLabel(), tenant)) == required
    assert spoken_notice(MediaLabel(), tenant, has_picture=True) == []
    assert corner_label(MediaLabel(show="opening"), tenant) is None, "the card is the label"
