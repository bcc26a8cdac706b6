"""`musetalk doctor` names what really mends a fault."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from other_ffmpeg import write_ffmpeg

from deployments.stack import doctor
from deployments.stack.doctor import run_checks
from musetalk_core.content_credentials import certificates
from musetalk_core.media.output.ffmpeg import require_ffmpeg
from tasks.content_credentials import local_authority
from tasks.models import transcription_engine
from tasks.settings import Settings, get_settings


def finding(settings, name):
    return next(found for found in run_checks(settings) if found.name == name)


def test_all_is_well_in_a_fresh_home(environment):
    assert [found for found in run_checks(Settings()) if found.is_fatal] == []


def test_a_configured_ffmpeg_that_is_not_there_is_a_matter_of_the_setting(environment, tmp_path):
    environment.setenv("MUSETALK_MEDIA__FFMPEG", str(tmp_path / "ffmpeg"))

    found = finding(Settings(), "ffmpeg")

    assert found.is_fatal and "MUSETALK_MEDIA__FFMPEG" in found.mend and "./run setup" not in found.mend


def test_an_ffmpeg_that_is_too_old_is_named_with_the_least_version(environment, tmp_path):
    old = write_ffmpeg(tmp_path / "ffmpeg", "5.1.6-0+deb12u1")
    environment.setenv("MUSETALK_MEDIA__FFMPEG", str(old))

    found = finding(Settings(), "ffmpeg")

    assert found.is_fatal and "MUSETALK_MEDIA__FFMPEG" in found.mend
    assert all(words in found.detail for words in (str(old), "5.1.6-0+deb12u1", "6.0 or later"))


def test_the_ffmpeg_that_is_used_is_named_with_its_version(environment):
    found = finding(Settings(), "ffmpeg")

    binary, version = require_ffmpeg()
    assert (found.state, found.detail) == ("ok", f"{binary}, version {version}")


def test_transcription_engines_are_named_with_their_models(environment, monkeypatch):
    environment.setenv("MUSETALK_MODELS__TRANSCRIPTION", "auto")
    settings = Settings()

    found = doctor._run_check("transcription", doctor._check_transcription, settings)

    assert found.state == "ok" and "ctranslate2: whisper-tiny.en" in found.detail
    assert found.detail.endswith("jobs with engine auto: auto")
    monkeypatch.setattr(transcription_engine, "find_spec", lambda name: None)
    found = doctor._run_check("transcription", doctor._check_transcription, settings)
    assert found.state == "note" and "requires its package" in found.detail and found.mend


def test_a_home_that_cannot_be_written_is_found_even_when_the_store_is_elsewhere(environment, tmp_path):
    (tmp_path / "file").touch()
    environment.setenv("MUSETALK_STORE__URL", str(tmp_path / "store"))
    environment.setenv("MUSETALK_HOME", str(tmp_path / "file"))

    found = finding(Settings(), "home")

    assert found.is_fatal and str(tmp_path / "file") in found.detail and "MUSETALK_HOME" in found.mend


def signing_finding():
    """The check of signing alone: the others take seconds."""
    get_settings.cache_clear()
    return doctor._run_check("signing", doctor._check_signing, Settings())


def test_the_end_of_the_signing_certificate_is_told(environment, tmp_path, monkeypatch):
    environment.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    before = signing_finding()
    assert (before.state, before.detail.startswith("the first job makes")) == ("ok", True)
    assert not (tmp_path / "home" / "provenance").exists()
    local_authority.make_keys()
    assert (signing_finding().state, "valid until 203" in signing_finding().detail) == ("ok", True)

    really = certificates.describe_chain
    soon = datetime.now(UTC) + timedelta(days=10, hours=1)
    monkeypatch.setattr(certificates, "describe_chain", lambda chain: replace(really(chain), not_after=soon))
    found = signing_finding()
    assert (found.state, found.mend) == ("note", "./run musetalk provenance keys rotate")
    assert "expires in 10 days" in found.detail
    soon = datetime.now(UTC) - timedelta(days=1)
    found = signing_finding()
    assert found.is_fatal and "expired on" in found.detail
    environment.setenv("MUSETALK_PROVENANCE__IF_SIGNING_FAILS", "publish")
    assert signing_finding().state == "note"
    environment.setenv("MUSETALK_PROVENANCE__SIGN", "false")
    assert signing_finding().detail.startswith("off")
