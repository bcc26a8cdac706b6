"""SubRip and WebVTT are parsed in linear time, within limits."""

import contextlib
import time

import pytest

from musetalk_core.errors import MediaTooLarge
from musetalk_core.media.output.caption_parser import (
    MAX_CAPTION_CHARS,
    MAX_CAPTIONS,
    MAX_CAPTIONS_AT_ONCE,
    parse_captions,
)

TIMES = "00:00:00,200 --> 00:00:00,600\n"


def texts(content):
    return [caption.text for caption in parse_captions(content)]


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        "}",
        "{<",
        "{\\",
        "<",
        "<a",
        "<b {",
        "< ",
        "< /",
        "<00:",
        "<x\n",
        "\n",
        " \n",
        "1\n",
        "-->",
        "-",
        ":",
        "0",
        TIMES,
        "00:00:00,200 -->",
        "1 ",
        "\r",
        "\\N",
        "<" + " " * 99,
        "&amp;",
        "&",
        "\u2028",
    ],
)
@pytest.mark.parametrize("head", [f"1\n{TIMES}", f"WEBVTT\n\n{TIMES}".replace(",", "."), ""])
def test_the_time_is_linear_whatever_is_repeated(head, unit):
    content = head + (unit * 400_000)[:400_000]
    began = time.thread_time()
    with contextlib.suppress(MediaTooLarge):
        parse_captions(content)

    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("a\n\nb\n", "a\n\nb"),
        ("The answer:\n42\n", "The answer:\n42"),
        ("a\n\n2\n" + TIMES + "b\n", "a"),
        ("a\n2\n" + TIMES + "b\n", "a"),
        ("{\\an8}<i>a</i> < 3 <font color='#fff'>b</font>\n", "a < 3 b"),
        ("a {b\nc\n", "a {b\nc"),
        ("1 < 2 and 3 > 2\n", "1 < 2 and 3 > 2"),
        ("< I >a< / I >\n", "a"),
        ("a\\Nb\\hc\n", "a\nb c"),
    ],
)
def test_subrip_text_is_what_people_see(body, text):
    assert texts("1\n" + TIMES + body)[0] == text


def test_webvtt_cues_end_at_an_empty_line():
    content = (
        "WEBVTT - a title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE a comment\nof two lines\n\n"
        "first cue\n00:00.200 --> 00:00.600 line:0 align:start\n<v Anna>a <00:00:00.400><c>b</c>\n \nc\n\n"
        "NOTE another\n\nlast cue\n01:00:01.000 --> 01:00:02.000\nd\n"
    )
    first, last = parse_captions(content)

    assert first.text == "a b\n \nc"
    assert (last.start_ms, last.end_ms, last.text) == (3_601_000, 3_602_000, "d")


@pytest.mark.parametrize(
    ("written", "start_ms", "end_ms"),
    [
        ("00:00:01,5 --> 00:00:02,25", 1500, 2250),
        ("1:2:3.004 --> 1:2:4.005", 3_723_004, 3_724_005),
        ("59:59.999 --> 100:00:00.000", 3_599_999, 360_000_000),
        ("7 00:00:01,000-->00:00:02,000 X1:40 X2:600", 1000, 2000),
    ],
)
def test_times_are_read_as_they_are_written(written, start_ms, end_ms):
    (caption,) = parse_captions(f"{written}\na\n")

    assert (caption.start_ms, caption.end_ms) == (start_ms, end_ms)


@pytest.mark.parametrize(
    "content", ["", "words", "1 --> 2\na", "00:00 --> 00:01\na", TIMES.replace("0", "\u0660") + "a"]
)
def test_what_has_no_times_holds_no_captions(content):
    assert parse_captions(content) == []


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_read(line_end):
    assert texts(f"1\n{TIMES}a\nb\n\n2\n{TIMES}c\n".replace("\n", line_end)) == ["a\nb", "c"]


def many(count, length_ms, apart_ms):
    for number in range(count):
        start, end = (
            f"{ms // 60_000:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"
            for ms in (number * apart_ms, number * apart_ms + length_ms)
        )
        yield f"{start} --> {end}\nwords\n\n"


def test_what_libass_could_not_draw_in_time_is_refused():
    longest = "a" * MAX_CAPTION_CHARS
    assert texts(TIMES + longest) == [longest]
    with pytest.raises(MediaTooLarge, match="00:00:00 has 2001 characters"):
        parse_captions(TIMES + longest + "a")

    assert len(parse_captions("".join(many(99, 1000 * MAX_CAPTIONS_AT_ONCE, 1000)))) == 99
    with pytest.raises(MediaTooLarge, match="at 00:00:25"):
        parse_captions("".join(many(99, 1000 * MAX_CAPTIONS_AT_ONCE + 1, 1000)))

    assert len(parse_captions("".join(many(MAX_CAPTIONS, 10, 10)))) == MAX_CAPTIONS
    with pytest.raises(MediaTooLarge, match="20001 captions"):
        parse_captions("".join(many(MAX_CAPTIONS + 1, 10, 10)))
