"""The clip of the demo: a picture in motion that owes nothing to the renderers; and its report."""

import ast
from itertools import islice, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from deployments.demo import clip, demo
from deployments.demo.report import RenderedVideo, card_lines


@pytest.fixture(scope="module")
def frames():
    photograph = cv2.imread(str(demo.PORTRAIT_PATH))
    return photograph, list(islice(clip.clip_frames(photograph), 0, 25, 6))


def test_the_whole_picture_moves_and_shows_the_photograph(frames):
    photograph, seen = frames
    assert all(frame.shape == photograph.shape and frame.dtype == np.uint8 for frame in seen)
    for earlier, later in pairwise(seen):
        shoulders = [cv2.blur(np.float32(one[330:, :, 1]), (9, 9)) for one in (earlier, later)]
        change = np.abs(shoulders[0] - shoulders[1]).mean()
        assert 1 < change < 40, "the shoulders move as well, far more than the noise"
    colors = [frame.reshape(-1, 3).mean(axis=0) for frame in seen]
    assert np.abs(np.array(colors) - photograph[60:, 60:450].reshape(-1, 3).mean(axis=0)).max() < 40


def test_the_clip_is_a_playable_video_of_five_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(clip, "SECONDS", 0.4)
    clip.write_clip(demo.PORTRAIT_PATH, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate, len(container.streams)) == (512, 512, 25, 1)
        assert len(list(container.decode(stream))) == 10


def test_no_renderer_is_imported_by_it():
    tree = ast.parse(Path(clip.__file__).read_text())
    names = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(one.name for one in node.names)]
        if name
    }
    assert not [name for name in names if name.startswith(("musetalk_core", "flows", "tasks", "api"))], names


class Session:
    """The jobs of a demo, none of which is done."""

    def __init__(self):
        self.submitted = []

    def submit(self, title, job_type, job):
        self.submitted.append((job_type, job))
        return title.replace(" ", "-")

    def wait_for_result(self, job_id):
        return {"id": job_id}

    def download(self, job, path):
        return path

    def run_in_background(self, text, work):
        return work()


def test_the_video_of_the_demo_is_no_output_of_a_job(tmp_path, monkeypatch):
    monkeypatch.setattr(demo.report, "load_spoken_phones", lambda job: [])
    monkeypatch.setattr(clip, "write_clip", lambda portrait, path: path.write_bytes(b"clip"))
    session = Session()
    videos = demo._render_from_text(session, demo.DemoOptions(out=tmp_path))

    assert [kind for kind, _ in session.submitted] == ["speech", "portrait", "lip_sync"]
    (job,) = [job for kind, job in session.submitted if kind == "lip_sync"]
    assert job == {"video": str(tmp_path / "clip.mp4"), "audio": "job://speech", "quality": "card"}
    assert (tmp_path / "clip.mp4").is_file()
    assert all(isinstance(video, RenderedVideo) for video in videos)


def test_the_report_shows_the_card_and_marks_what_is_beyond_its_limit():
    figures = {
        "amplitude": {"value": 1.234, "unit": "ratio", "limit": 0.6},
        "rounding": {"value": 0.1, "unit": "ratio", "limit": 0.25},
        "seam": {"value": 0.5, "unit": "levels", "limit": 3.0},
    }
    lines = card_lines({"figures": figures, "defects": ["rounding"]})

    assert lines == ["movement: amplitude 1.23, rounding 0.10 (limit 0.25)", "picture: seam 0.50 levels"]
    assert card_lines(None) == []
