"""Performance limits (bars) of the long benchmarks as tests; `./run test --slow` runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import long_audio
import one_hour
import pipeline
import status
from media import long_speech, talking_head
from peak_memory import run_measured
from speed import run_job, transcode

pytestmark = pytest.mark.slow


def test_five_minutes_of_720p_take_no_more_memory_than_thirty_seconds(tmp_path):
    minute = talking_head(tmp_path / "minute.mp4", 60)
    long = one_hour.loop_clip(minute, 5, tmp_path / "long.mp4")
    short = talking_head(tmp_path / "short.mp4", 30)

    peaks = [
        run_job(tmp_path / f"home{s}", video, long_speech(tmp_path / f"{s}.wav", s))["rss_mb"]
        for s, video in ((30, short), (300, long))
    ]

    assert peaks[1] - peaks[0] < 150


def test_an_hour_is_rendered_in_flat_memory_and_little_disk(tmp_path):
    minute, _, _ = one_hour.measure(tmp_path, 1)
    peak, per_frame, _ = one_hour.measure(tmp_path, 60)

    assert peak - minute < 150
    assert per_frame < 20_000


def test_a_prepared_job_takes_little_longer_than_a_plain_transcode(tmp_path):
    video = talking_head(tmp_path / "head.mp4", 60)
    run_job(tmp_path / "home", video, long_speech(tmp_path / "first.wav", 60))
    plain, ours = [], []
    for number in range(3):  # alternate and take the best of each: the machine may be busy
        plain.append(transcode(video, tmp_path / "plain.mp4"))
        speech = long_speech(tmp_path / f"{number}.wav", 60 - (number + 1) / 25)
        ours.append(run_job(tmp_path / "home", video, speech)["seconds"])

    # 1.5 where it was measured first; 1.7 to 1.9 on a processor on which numpy is slower than x264
    assert min(ours) <= 2 * min(plain)


def test_the_networks_of_the_real_size_fit_into_six_gigabytes_on_a_processor(tmp_path):
    run = [sys.executable, Path(__file__).with_name("real_weights.py"), tmp_path / "models"]
    # in its own process: creating the weights takes more memory than using them
    subprocess.run(run, check=True)
    video = talking_head(tmp_path / "head.mp4", 0.32, size=(512, 512), face_px=200)
    speech = long_speech(tmp_path / "speech.wav", 0.4)

    made = run_measured("real_job.py", tmp_path / "models", video, speech, tmp_path / "work", 8)

    assert made["with_face"] >= 1  # random networks detect a face in some frames
    assert made["tree_mb"] < 6000
    assert set(made["loads"]) == {1}


def test_the_neural_pipeline_is_many_times_the_plain_way(tmp_path):
    speed, memory = pipeline.main()

    assert speed >= 6
    assert memory <= 0.2


def test_ten_minutes_on_a_ten_second_avatar_are_flat(tmp_path):
    made = long_audio.main(tmp_path)

    assert made["grown_mb"] < 150
    assert made["slower"] <= 1.25


def test_statuses_through_the_api_are_ten_times_cheaper_and_a_burst_loses_nothing():
    ratio, is_whole = status.main()

    assert ratio >= 10
    assert is_whole
