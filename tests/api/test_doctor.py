"""`musetalk doctor` names what really mends a fault."""

from other_ffmpeg import write_ffmpeg

from deployments.stack.doctor import run_checks
from musetalk_core.media.output.ffmpeg import require_ffmpeg
from tasks.settings import Settings


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


def test_a_home_that_cannot_be_written_is_found_even_when_the_store_is_elsewhere(environment, tmp_path):
    (tmp_path / "file").touch()
    environment.setenv("MUSETALK_STORE__URL", str(tmp_path / "store"))
    environment.setenv("MUSETALK_HOME", str(tmp_path / "file"))

    found = finding(Settings(), "home")

    assert found.is_fatal and str(tmp_path / "file") in found.detail and "MUSETALK_HOME" in found.mend
