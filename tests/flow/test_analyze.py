"""The analyze flow: from a picture to text, boxes, a picture with boxes and pages for people."""

import base64
import json
import struct
import zlib
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pictures
import pytest
import tiny_vision
from PIL import Image
from shown import artifacts_of

from flows.analyze import analyze
from flows.schemas.analyze import AnalyzeJob
from flows.schemas.base import Output
from musetalk_core.errors import ModelNotInstalled
from tasks.settings import get_settings

ALL = ("caption", "detailed", "ocr", "tags", "faces")


def in_file(home, picture, name="photo.png", **options):
    path = home / name
    picture.save(path, **options)
    return f"file://{path}"


def person_with_sign():
    """A person beside a sign, 900x512."""
    picture = Image.new("RGB", (900, 512), (210, 215, 220))
    picture.paste(Image.open(pictures.ASSETS / "astronaut.jpg"), (0, 0))
    picture.paste(pictures.sign().resize((380, 254)), (515, 120))
    return picture


def told(job):
    """Run a flow that must fail on purpose; give its error and what it told the world."""
    state = analyze(job, return_state=True)
    return state.result(raise_on_failure=False), json.loads(artifacts_of(state)["error"].data)


def test_a_picture_is_described_read_and_its_faces_found_and_again_from_the_cache(home):
    job = AnalyzeJob(image=in_file(home, person_with_sign()), features=ALL)

    state = analyze(job, return_state=True)
    result = state.result()

    assert (result.width, result.height, result.format) == (900, 512, "png")
    assert "one face" in result.text and "DANGER" in result.text
    assert (result.model, result.answered) == ("starter", None)
    assert [line.text for line in result.ocr] == ["DANGER", "Keep off the track"]
    [face] = result.faces
    assert face.box[0] < 225 < face.box[2] and face.box[1] < 123 < face.box[3]
    assert result.objects is None and len(result.caption) < len(result.detailed)
    assert result.made_by == {"ocr": "rapidocr", "tags": "efficientnet-lite0", "faces": "face-mesh"}
    assert (result.name, result.warnings) == ("photo_analysed.jpg", [])
    drawn = cv2.imread(result.picture.uri.removeprefix("file://")).astype(int)
    assert drawn.shape == (512, 900, 3)
    edge = drawn[face.box[1] : face.box[3], face.box[0] - 1 : face.box[0] + 2]
    assert (edge[..., 1] - edge[..., 2]).max(axis=1).mean() > 60  # a green line down its left side

    notes = artifacts_of(state)
    page = notes["analysis"].data
    shown = base64.b64decode(page.partition("(data:image/jpeg;base64,")[2].partition(")")[0])
    small = cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR)
    assert max(small.shape) == 640 and len(shown) < 100_000
    assert "DANGER" in page and "starter" in page and "image" not in {note.type for note in notes.values()}
    rows = json.loads(notes["findings"].data)
    assert [row["kind"] for row in rows[:3]] == ["face", "text 1", "text 2"]

    again = analyze(job)
    assert set(again.cached) == {"size", "tags", "faces", "ocr", "draw", "sign"}
    assert again.text == result.text


def test_only_what_was_asked_for_is_in_the_result(home):
    result = analyze(AnalyzeJob(image=in_file(home, pictures.sign()), length="short"))

    assert result.text and (result.ocr, result.faces, result.tags, result.caption) == (None,) * 4


def test_a_question_nobody_can_answer_is_not_answered(home):
    result = analyze(
        AnalyzeJob(
            image=in_file(home, pictures.sign()),
            prompt="How high is the fence?",
            features=["objects"],
            fallback=True,
        )
    )

    assert result.answered is False and result.text.startswith("The question was not answered")
    assert [text.split(":")[0] for text in result.warnings] == [
        "question_not_answered",
        "feature_unavailable",
    ]


def test_boxes_are_those_of_the_upright_picture(home):
    lying = person_with_sign().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it
    image = in_file(home, lying, "lying.jpg", exif=exif, quality=92)

    result = analyze(AnalyzeJob(image=image, features=["faces", "ocr"], model="starter"))

    assert (result.width, result.height) == (900, 512)
    [face] = result.faces
    assert face.box[0] < 225 < face.box[2] and face.box[1] < 123 < face.box[3]
    assert [line.text for line in result.ocr] == ["DANGER", "Keep off the track"]


def test_of_an_animation_the_first_frame_is_analysed_and_that_is_told(home):
    frames = [Image.new("RGB", (90, 60), colour) for colour in ("navy", "white")]
    image = in_file(home, frames[0], "moving.gif", save_all=True, append_images=frames[1:])

    assert [text.split(":")[0] for text in analyze(AnalyzeJob(image=image)).warnings] == [
        "first_frame_only",
        "low_resolution",
    ]


@pytest.fixture
def vision(home, monkeypatch):
    """Install tiny models of the large ones' classes that say a given text."""
    folder = home / "models"
    monkeypatch.setenv("MUSETALK_WEIGHTS__FOLDER", str(folder))
    monkeypatch.setenv("MUSETALK_MODELS__DEVICE", "cpu")
    get_settings.cache_clear()
    return folder


def test_large_models_describe_answer_and_find_objects(home, vision):
    tiny_vision.write_florence(vision, "sign<loc_100><loc_200><loc_499><loc_799>")
    tiny_vision.write_smolvlm(vision, "Yes, two")

    result = analyze(
        AnalyzeJob(image=in_file(home, pictures.sign()), question="Is it?", features=["objects", "caption"])
    )

    assert (result.text, result.model, result.answered) == ("Yes, two", "smolvlm-256m", True)
    [sign] = result.objects
    assert (sign.label, sign.box, sign.score) == ("sign", (64, 85, 319, 341), None)
    assert result.made_by == {
        "answer": "smolvlm-256m",
        "describe": "florence-2-base",
        "objects": "florence-2-base",
    }


def test_a_model_that_is_not_installed_is_told_before_anything_is_fetched(home):
    error, note = told(AnalyzeJob(image="s3://nowhere/p.png", model="florence-2-large"))

    assert isinstance(error, ModelNotInstalled)
    assert note["code"] == "model_not_installed" and "weights pull florence-2-large" in note["message"]


def test_other_weights_under_the_same_name_are_another_analysis(home, vision):
    image = in_file(home, pictures.sign())
    tiny_vision.write_smolvlm(vision, "No")
    first = analyze(AnalyzeJob(image=image))
    tiny_vision.write_smolvlm(vision, "Yes", seed=1)

    assert (first.text, analyze(AnalyzeJob(image=image)).text) == ("No", "Yes")


def png_bomb(home):
    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = part(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    body = part(b"IDAT", zlib.compress(bytes(1000)))
    (home / "bad").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body + part(b"IEND", b""))


def cut_picture(home):
    whole = Path(pictures.ASSETS / "astronaut.jpg").read_bytes()
    (home / "bad").write_bytes(whole[: len(whole) // 2])


BAD = {
    "bomb": (png_bomb, "input_too_large"),
    "cut off": (cut_picture, "unsupported_media"),
    "text": (lambda home: (home / "bad").write_text("only words"), "unsupported_media"),
    "sound": (
        lambda home: (home / "bad").write_bytes(next(pictures.ASSETS.glob("sense*.wav")).read_bytes()),
        "unsupported_media",
    ),
    "missing": (lambda _: None, "input_not_found"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_a_typed_error(name, home):
    make, code = BAD[name]
    make(home)

    error, note = told(AnalyzeJob(image=f"file://{home}/bad"))

    assert (error.code, note["code"], note["retryable"]) == (code, code, False)
    assert str(home) not in note["message"]


def test_foreign_text_is_no_markup_in_prefects_pages(home):
    from tasks.artifact_pages.analysis import _escape_markdown

    assert _escape_markdown("![x](javascript:a) <b>|") == r"\!\[x\](javascript:a) \<b\>\|"


def test_question_and_prompt_are_one_field():
    assert AnalyzeJob(image="s3://b1c/k", prompt="What?") == AnalyzeJob(image="s3://b1c/k", question="What?")
    with pytest.raises(ValueError, match="two names of one field"):
        AnalyzeJob(image="s3://b1c/k", prompt="What?", question="Who?")


def test_features_count_once():
    assert AnalyzeJob(image="s3://b1c/k", features=["ocr", "faces", "ocr"]).features == ("ocr", "faces")


@pytest.mark.parametrize("name", [None, "mine", "mine.jpg"])
def test_a_given_name_is_taken_with_and_without_its_ending(name, home):
    image = in_file(home, Image.new("RGB", (40, 30)), "a b.png")

    result = analyze(AnalyzeJob(image=image, output=Output(name=name)))

    assert result.name == ("mine.jpg" if name else "a b_analysed.jpg")
    assert unquote(result.picture.uri).endswith(f"/{result.name}")
