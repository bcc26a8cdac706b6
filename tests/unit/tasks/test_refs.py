"""References are spelled one way."""

import subprocess
import sys
import unicodedata

import pytest
from pydantic import TypeAdapter, ValidationError

from tasks import refs
from tasks.refs import Artefact, MediaUri, SourceFile, job_file_name, job_uri

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
        (f"job://{JOB}/你好 (1)+é.mp4", f"job://{JOB}/你好 (1)+é.mp4"),
        (f"job://{JOB}/take%201.mp4", f"job://{JOB}/take%201.mp4"),
        ("s3://media/a/../b", "s3://media/a/../b"),
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
        ("s3://media/a\nb", "control"),
        ("https://", "host"),
        ("https://user:pw@example.com/a", "user name"),
        ("https://example.com/a#b", "fragment"),
        ("https://example.com/" + "a" * 9000, "characters"),
        ("asset://a/b", "asset://ID"),
        ("asset://", "asset://ID"),
        ("job://42", "job://ID"),
        (f"job://{JOB}/../x", "job://ID"),
        (f"job://{JOB}/..", "job://ID"),
        (f"job://{JOB}/a%2Fb", "job://ID"),
        (f"job://{JOB}/a%00b", "job://ID"),
        (f"job://{JOB}/" + "%C3%A9" * 128, "255 bytes"),
        ("file://host/a", "absolute"),
        ("file:///a/../b", "'..'"),
        ("ftp://example.com/a", "not a supported scheme"),
        ("concat:a|b", "plain path"),
        ("/etc/passwd", "plain path"),
    ],
)
def test_a_badly_spelled_reference_is_refused_with_a_sentence(text, word):
    with pytest.raises(ValidationError, match=word):
        URI.validate_python(text)


@pytest.mark.parametrize("name", ["a.mp4", "你好.mp4", "take 1+2 (a).mp4", "100%41?#&.mp4", "e\u0301.srt"])
def test_any_file_of_a_job_can_be_named(name):
    uri = URI.validate_python(job_uri(JOB, name))

    assert uri.isascii()
    assert job_file_name(uri.removeprefix("job://")) == unicodedata.normalize("NFC", name)


def test_a_plain_path_is_told_from_a_bad_reference():
    with pytest.raises(ValidationError) as caught:
        URI.validate_python("./clips/anna.mp4")

    assert caught.value.errors()[0]["type"] == "local_path_disabled"


@pytest.fixture
def nobody_asked():
    before = refs._artefact_exists
    refs.register_artefact_check(None)
    yield
    refs.register_artefact_check(before)


def test_an_artefact_that_vanished_cannot_be_read_back(nobody_asked):
    made = Artefact(kind="avatar", key="a" * 64, size=3, files=("x.npz",))
    refs.register_artefact_check(lambda kind, key: False)

    with pytest.raises(ValidationError, match="no longer in the store"):
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
    code += "{'tasks', 'tasks.refs', 'tasks.file_names'}"
    subprocess.run([sys.executable, "-c", code], check=True)
