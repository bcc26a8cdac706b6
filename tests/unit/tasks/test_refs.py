"""References are spelled one way, and output names are predictable."""

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from tasks import refs
from tasks.refs import Artefact, MediaUri, SourceFile, output_name, safe_stem

URI = TypeAdapter(MediaUri)
JOB = "0b2c8f2e-8f0a-4a53-9d0b-2f6f3f1b7a55"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://media/clips/anna.mp4", "s3://media/clips/anna.mp4"),
        ("S3://media/anna.mp4", "s3://media/anna.mp4"),
        ("s3://media/a b/ü#?.mp4", "s3://media/a b/ü#?.mp4"),
        ("https://example.com/a.mp4?sig=x%2F", "https://example.com/a.mp4?sig=x%2F"),
        ("http://example.com/a.mp4", "http://example.com/a.mp4"),
        ("asset://0f3c9a", "asset://0f3c9a"),
        (f"job://{JOB}", f"job://{JOB}"),
        (f"job://{JOB}/output", f"job://{JOB}/output"),
        ("file:///media/a.mp4", "file:///media/a.mp4"),
    ],
)
def test_a_well_spelled_reference_is_kept(given, kept):
    assert URI.validate_python(given) == kept


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("s3://Media_1/a", "bucket"),
        ("s3://media", "key"),
        ("s3://media/", "key"),
        ("s3://media/" + "x" * 1025, "1024"),
        ("s3://media/a/../b", "'..'"),
        ("s3://media/a\nb", "control"),
        ("https://", "host"),
        ("https://user:pw@example.com/a", "user name"),
        ("https://example.com/a#b", "fragment"),
        ("https://example.com/" + "a" * 9000, "characters"),
        ("asset://a/b", "asset://ID"),
        ("asset://", "asset://ID"),
        ("job://42", "job://ID"),
        (f"job://{JOB}/../x", "job://ID"),
        ("file://host/a", "absolute"),
        ("file:///a/../b", "'..'"),
        ("ftp://example.com/a", "not a scheme"),
        ("concat:a|b", "plain path"),
        ("/etc/passwd", "plain path"),
    ],
)
def test_a_badly_spelled_reference_is_refused_with_a_sentence(text, word):
    with pytest.raises(ValidationError, match=word):
        URI.validate_python(text)


def test_a_plain_path_is_told_from_a_bad_reference():
    with pytest.raises(ValidationError) as caught:
        URI.validate_python("./clips/anna.mp4")

    assert caught.value.errors()[0]["type"] == "local_path_disabled"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("0606446c_avatar_video.mp4", "0606446c_avatar_video"),
        ("a.b.c.wav", "a.b.c"),
        ("s3://bucket/some/folder/anna.mp4", "anna"),
        ("Anna & Bob (1).mov", "Anna___Bob__1_"),
        ("übung.mp4", "_bung"),
        (".hidden.mp4", "hidden"),
        ("..hidden.mp4", "hidden"),
        (".mp4", "mp4"),
        ("noextension", "noextension"),
        ("-f.mp4", "-f"),
        ("a\\b.mp4", "a_b"),
    ],
)
def test_a_stem_has_safe_characters_only(name, stem):
    assert safe_stem(name) == stem


@pytest.mark.parametrize("name", ["", "..", "...", "folder/", "a..b.mp4", "a..mp4"])
def test_a_name_without_a_usable_stem_is_refused(name):
    with pytest.raises(ValueError, match="cannot be used"):
        safe_stem(name)


@pytest.mark.parametrize(
    ("video", "audio", "given", "name"),
    [
        (
            "0606446c_avatar_video.mp4",
            "remix_vc_00098415_audio.wav",
            None,
            "0606446c_avatar_video_remix_vc_00098415_audio.mp4",
        ),
        ("p/a.b.mp4", "q/c.d.wav", None, "a.b_c.d.mp4"),
        ("x.mov", "y.flac", "final", "final.mp4"),
        ("x.mov", "y.flac", "final.mp4", "final.mp4"),
        ("x.mov", "y.flac", "final.MP4", "final.mp4"),
        ("x.mov", "y.flac", "final.mov", "final.mov.mp4"),
    ],
)
def test_the_output_is_named_after_its_inputs_or_as_asked(video, audio, given, name):
    assert output_name(video, audio, given) == name


@pytest.mark.parametrize(
    "given", ["", "../escape", "a/b", "-f", ".hidden", "a..b", "x" * 129, "ü", "a b", "a."]
)
def test_an_unsafe_given_name_is_refused(given):
    with pytest.raises(ValueError, match="output name"):
        output_name("x.mp4", "y.wav", given)


def test_long_names_are_cut_and_still_differ():
    names = [output_name("v" * 100 + ".mp4", "a" * 100 + tail + ".wav") for tail in ("1", "2")]

    assert names[0] != names[1]
    assert all(len(name) <= 128 and name.endswith(".mp4") for name in names)
    assert len(output_name("v" * 60 + ".mp4", "a" * 63 + ".wav")) == 128


@pytest.fixture
def nobody_asked():
    before = refs._artefact_exists
    refs.register_artefact_check(None)
    yield
    refs.register_artefact_check(before)


def test_an_artefact_that_vanished_cannot_be_read_back(nobody_asked):
    made = Artefact(kind="avatar", key="a" * 64, size=3, files=("x.npz",))
    refs.register_artefact_check(lambda kind, key: False)

    with pytest.raises(ValidationError, match="not in the store any more"):
        Artefact.model_validate_json(made.model_dump_json())

    refs.register_artefact_check(lambda kind, key: (kind, key) == ("avatar", "a" * 64))
    assert Artefact.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    "changed", [{"kind": "../x"}, {"key": "../../etc"}, {"files": ("../x",)}, {"files": ("/etc/passwd",)}]
)
def test_an_artefact_cannot_name_paths_outside(nobody_asked, changed):
    fields = {"kind": "avatar", "key": "a" * 64, "size": 3, "files": ("x.npz",)} | changed
    with pytest.raises(ValidationError):
        Artefact(**fields)


def test_a_printed_source_does_not_show_its_signed_link():
    source = SourceFile(
        sha256="a" * 64, size=1, name="a.mp4", uri="https://h/a.mp4?X-Amz-Signature=secret", version=None
    )

    assert "secret" not in repr(source)


def test_references_import_nothing_of_ours():
    code = "import tasks.refs, sys\n"
    code += "assert {m for m in sys.modules if m.split('.')[0] in {'tasks', 'musetalk_core', 'prefect'}} == "
    code += "{'tasks', 'tasks.refs'}"
    subprocess.run([sys.executable, "-c", code], check=True)
