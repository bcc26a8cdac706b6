"""File names keep what people wrote, lose what misleads, and fit where they are stored."""

import re
import unicodedata
from email.message import Message

import pytest

from tasks.file_names import (
    content_disposition,
    fit_name,
    output_name,
    plain_name,
    safe_stem,
    validate_name,
    with_suffix,
)

FAMILY = "👨\u200d👩\u200d👧"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("0606446c_avatar_video.mp4", "0606446c_avatar_video"),
        ("a.b.c.wav", "a.b.c"),
        ("s3://bucket/some/folder/anna.mp4", "anna"),
        ("Anna & Bob (1).mov", "Anna & Bob (1)"),
        ("take+1.wav", "take+1"),
        ("übung.mp4", "übung"),
        ("u\u0308bung.mp4", "übung"),
        ("你好.wav", "你好"),
        (f"{PERSIAN}.wav", PERSIAN),
        (f"{FAMILY}.wav", FAMILY),
        ("नमस्ते.wav", "नमस्ते"),
        (".hidden.mp4", "hidden"),
        ("..hidden.mp4", "hidden"),
        (".mp4", "mp4"),
        ("noextension", "noextension"),
        ("-f.mp4", "-f"),
        ("a..b.mp4", "a..b"),
        ("a\\b.mp4", "a_b"),
        ("a\uff0fb\uff3cc.mp4", "a_b_c"),
        ("a\r\nb\x7f.mp4", "a__b_"),
        ("a\u2028b.mp4", "a_b"),
        ("exe\u202e4pm.exe.mp4", "exe4pm.exe"),
        ("\u200bzero\ufeff\u200d.mp4", "zero"),
        ("", "file"),
        ("..", "file"),
        ("folder/", "file"),
        (" \u3000.mp4", "file"),
        ("a\ud800.mp4", "a_"),
    ],
)
def test_a_stem_keeps_all_but_what_misleads(name, stem):
    assert safe_stem(name) == stem


@pytest.mark.parametrize(
    ("video", "audio", "given", "name"),
    [
        (
            "0606446c_avatar_video.mp4",
            "remix_vc_00098415_audio.wav",
            None,
            "0606446c_avatar_video_remix_vc_00098415_audio.mp4",
        ),
        ("my clip +é.mp4", "töne & q.wav", None, "my clip +é_töne & q.mp4"),
        ("p/a.b.mp4", "q/c.d.wav", None, "a.b_c.d.mp4"),
        ("x.mov", "y.flac", "final", "final.mp4"),
        ("x.mov", "y.flac", "final.mp4", "final.mp4"),
        ("x.mov", "y.flac", "final.MP4", "final.mp4"),
        ("x.mov", "y.flac", "final.mov", "final.mov.mp4"),
        ("x.mov", "y.flac", "prise n° 1 été", "prise n° 1 été.mp4"),
        ("x.mov", "y.flac", "-f", "-f.mp4"),
        ("x.mov", "y.flac", "e\u0301", "\u00e9.mp4"),
    ],
)
def test_the_output_is_named_after_its_inputs_or_as_asked(video, audio, given, name):
    assert output_name(video, audio, given) == name


def test_different_inputs_have_different_names():
    sounds = ["你好.wav", "世界.wav", "take 1.wav", "take+1.wav", "é.wav", "è.wav", "a_b.wav", "a b.wav"]

    assert len({output_name("anna.mp4", sound) for sound in sounds}) == len(sounds)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "at least one"),
        (" \u3000", "at least one"),
        ("..", "at least one"),
        (".hidden", "dot"),
        ("../escape", "dot"),
        ("a/b", r"U\+002F"),
        ("a\\b", r"U\+005C"),
        ("a\nb", r"U\+000A"),
        ("a\x00b", r"U\+0000"),
        ("a\u202eb", "RIGHT-TO-LEFT OVERRIDE"),
        ("a\u2066b", r"U\+2066"),
        ("a\u200b", "ZERO WIDTH SPACE"),
        ("a\u200d", "ZERO WIDTH JOINER"),
        ("a\ud800", r"U\+D800"),
        ("é" * 128, "255 bytes"),
    ],
)
def test_an_unsafe_given_name_is_refused_with_its_reason(given, why):
    with pytest.raises(ValueError, match=why):
        validate_name(given)


@pytest.mark.parametrize("given", ["a", "take 1 (final)", "a..b", FAMILY, PERSIAN, "é" * 127, 'x"<>|:*?'])
def test_other_given_names_are_kept(given):
    assert validate_name(given) == given


CLUSTERS = ["e\u0301\u0323", FAMILY, "🇩🇪", "👍🏽", "ক্ষ", "각", "\u1100\u1161\u11a8", "ﬀ", "a"]


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("room", range(30, 60))
def test_a_long_name_is_cut_between_characters_as_readers_see_them(cluster, room):
    stem = cluster * 100
    name = fit_name(stem, ".mp4", room)

    assert len(name.encode()) <= room
    found = re.fullmatch(r"(.*)_[0-9a-f]{8}\.mp4", name)
    assert found
    kept = found[1]
    assert kept == cluster * (len(kept) // len(cluster))
    assert room - len(name.encode()) < len(cluster.encode())


def test_long_names_are_cut_and_still_differ():
    names = [output_name("v" * 200 + ".mp4", "a" * 100 + tail + ".wav") for tail in ("1", "2")]

    assert names[0] != names[1]
    assert all(len(name.encode()) <= 255 and name.endswith(".mp4") for name in names)
    assert len(output_name("v" * 100 + ".mp4", "a" * 150 + ".wav")) == 255


def test_names_of_a_set_get_one_mark_and_are_cut_alike():
    names = [f"{'界' * 90}.{ending}" for ending in ("txt", "json", "srt")]

    assert with_suffix(["a.txt", "a.json"], "1a2b3c4d") == ["a_1a2b3c4d.txt", "a_1a2b3c4d.json"]
    assert with_suffix(["a.txt", "a.json"], "") == ["a.txt", "a.json"]
    found = with_suffix(names, "1a2b3c4d")
    assert len({name.rpartition(".")[0] for name in found}) == 1
    assert all(len(name.encode()) <= 255 and "_1a2b3c4d." in name for name in found)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("C:\\fakepath\\take 1.wav", "take 1.wav"),
        ("a/b/新 しい.wav", "新 しい.wav"),
        ("a\u3000b.wav", "a\u3000b.wav"),
        ("...", "file"),
        ("a\x1b[31m.wav", "a_[31m.wav"),
    ],
)
def test_the_name_of_an_upload_is_its_last_part(name, plain):
    assert plain_name(name) == plain


def test_a_long_upload_name_keeps_its_ending():
    name = plain_name("é" * 300 + ".wav")

    assert len(name.encode()) <= 255 and name.endswith(".wav")


@pytest.mark.parametrize("name", ["a.mp4", "你好 (1).mp4", 'a"b\\c;d%41.mp4', f"{FAMILY}.mp4", "e\u0301.srt"])
def test_browsers_are_told_the_name_in_both_forms(name):
    header = content_disposition(name)
    read = Message()
    read["content-disposition"] = header.replace('filename="', 'old="')

    assert header.isascii() and "\n" not in header
    assert read.get_filename() == unicodedata.normalize("NFC", name) or read.get_filename() == name
    fallback = header.split('filename="')[1].split('";')[0]
    assert not set(fallback) & set('"\\%')
