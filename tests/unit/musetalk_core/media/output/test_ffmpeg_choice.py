"""The choice of the ffmpeg program: the installed one by default, and none that is too old."""

import subprocess

import pytest
from other_ffmpeg import ENCODERS, write_ffmpeg

from musetalk_core.errors import EncodeError
from musetalk_core.media.output.ffmpeg import MIN_FFMPEG_VERSION, find_ffmpeg, require_ffmpeg


@pytest.mark.parametrize("on_path", [None, "5.1.6-0+deb12u1", "7.1"])
def test_the_installed_one_is_used_whatever_is_on_the_path(tmp_path, monkeypatch, on_path):
    if on_path:
        write_ffmpeg(tmp_path / "ffmpeg", on_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    binary, version = require_ffmpeg()

    assert binary == find_ffmpeg() and tmp_path not in binary.parents
    said = subprocess.run([binary, "-version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"ffmpeg version {version} ")


@pytest.mark.parametrize("version", ["5.1.6-0+deb12u1", "n4.4", "5.1", "0.8.17"])
def test_an_old_one_is_refused_with_both_versions(tmp_path, version):
    with pytest.raises(EncodeError) as raised:
        require_ffmpeg(write_ffmpeg(tmp_path / "ffmpeg", version))

    assert f"ffmpeg {version}" in str(raised.value)
    assert f"version {'.'.join(map(str, MIN_FFMPEG_VERSION))} or later" in str(raised.value)


@pytest.mark.parametrize(
    "version", ["6.0", "7.0.2-static", "n7.1", "10.0", "N-118193-g5f38c82536", "2025-01-05-git-19c95ecbff"]
)
def test_new_ones_and_development_builds_are_taken(tmp_path, version):
    path = write_ffmpeg(tmp_path / "ffmpeg", version)

    assert require_ffmpeg(path) == (path, version)


def test_one_that_cannot_encode_results_is_refused(tmp_path):
    path = write_ffmpeg(tmp_path / "ffmpeg", "7.1", ENCODERS.replace("libx264", "h264_qsv"))

    with pytest.raises(EncodeError, match="has no encoder libx264"):
        require_ffmpeg(path)


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho hello\n", "no program"])
def test_another_program_is_refused(tmp_path, content):
    path = tmp_path / "ffmpeg"
    path.write_text(content)
    path.chmod(0o755)

    with pytest.raises(EncodeError, match="ffmpeg"):
        require_ffmpeg(path)
