"""Title and comment of synthetic files, and what a captioned video takes over from its source."""

from fractions import Fraction

import av
import numpy as np
import pytest

from musetalk_core.media.audio.decode import write_wav
from musetalk_core.media.image.yuv_picture import Picture
from musetalk_core.media.output.caption_parser import Caption
from musetalk_core.media.output.captions import add_caption_track, burn_captions
from musetalk_core.media.output.convert_audio import convert_wav
from musetalk_core.media.output.mux import join_chunks
from musetalk_core.media.output.tags import inherited_tags, synthetic_speech_tags, synthetic_video_tags
from musetalk_core.media.output.video_encoder import VideoEncoder
from musetalk_core.media.probe import probe

VIDEO_TAGS, RATE = synthetic_video_tags("viseme"), Fraction(10)


def tags_of(path):
    with av.open(str(path)) as container:
        merged = {**container.streams[0].metadata, **container.metadata}  # Ogg keeps tags in the stream
    return {name: merged.get(name) for name in ("title", "comment")}


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagged")
    with VideoEncoder(folder / "chunk.mp4", 64, 64, RATE, preset="ultrafast") as encoder:
        for _ in range(5):
            encoder.write(Picture(np.full((96, 64), 128, np.uint8)))
    join_chunks([folder / "chunk.mp4"], None, folder / "video.mp4", rate=RATE, tags=VIDEO_TAGS)
    join_chunks([folder / "chunk.mp4"], None, folder / "plain.mp4", rate=RATE)
    return folder


def test_a_video_says_that_it_is_synthetic_and_how_it_was_made(tagged):
    found = tags_of(tagged / "video.mp4")

    assert found == {"title": VIDEO_TAGS.title, "comment": VIDEO_TAGS.comment}
    assert found["comment"].startswith("Synthetic media: ") and "viseme" in found["comment"]
    assert tags_of(tagged / "plain.mp4") == {"title": None, "comment": None}


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg"])
def test_a_speech_file_says_that_it_is_synthetic(tmp_path, kind):
    write_wav(tmp_path / "a.wav", np.zeros(24_000, np.float32), 24_000)
    tags = synthetic_speech_tags("starter")

    for name in ("b", "c"):
        convert_wav(tmp_path / "a.wav", tmp_path / f"{name}.{kind}", kind, tags=tags)

    assert tags_of(tmp_path / f"b.{kind}") == tags.to_metadata()
    assert (tmp_path / f"b.{kind}").read_bytes() == (tmp_path / f"c.{kind}").read_bytes()


@pytest.mark.parametrize("add", [burn_captions, add_caption_track])
@pytest.mark.parametrize(("name", "comment"), [("video", VIDEO_TAGS.comment), ("plain", None)])
def test_a_captioned_video_keeps_the_statement_of_its_source(tagged, tmp_path, add, name, comment):
    source, captions = tagged / f"{name}.mp4", [Caption(0, 400, "Hello")]

    add(source, probe(source), captions, tmp_path / "captioned.mp4")

    assert tags_of(tmp_path / "captioned.mp4")["comment"] == comment


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "Made by hand",
        "Synthetic media: a\nb",
        "Synthetic media: " + "a" * 500,
        "Synthetic media: \x1b[1m",
    ],
)
def test_other_or_hostile_comments_are_not_taken_over(comment):
    assert inherited_tags({"comment": comment, "title": "t"}) is None
