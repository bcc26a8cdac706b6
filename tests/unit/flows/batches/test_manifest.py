"""Manifests of batches: rows become jobs, and each bad one says what is wrong with it."""

import itertools
import json

import pytest

from flows.batches.manifest import MAX_LINE_CHARS, read_rows
from flows.schemas.analyze import AnalyzeJob
from flows.schemas.speech import SpeechJob
from flows.schemas.video import LipSyncJob

GOOD = {"video": "s3://media/anna.mp4", "audio": "s3://media/1.wav"}


def jsonl(*rows):
    return [row if isinstance(row, str) else json.dumps(row) for row in rows]


def read(lines, form="jsonl", defaults=None):
    return list(read_rows(lines, form, "lip_sync", LipSyncJob, defaults))


def faults(row):
    assert row.job is None
    return {fault.pointer: fault.detail for fault in row.faults}


def test_good_rows_and_bad_ones_stand_side_by_side():
    rows = read(
        jsonl(
            GOOD,
            {"id": "hello", **GOOD, "output": {"name": "hello"}},
            "",
            "{broken",
            "[1]",
            {"video": "/etc/passwd", "audio": "s3://media/1.wav", "fps": 1000},
            {**GOOD, "colour": "red"},
            {**GOOD, "id": "hello"},
            {**GOOD, "id": "../x"},
        )
    )
    assert [row.number for row in rows] == list(range(1, 9))
    assert [row.id for row in rows[:3]] == ["row-1", "hello", "row-3"]
    assert rows[1].job.output.name == "hello" and rows[1].faults == ()
    assert faults(rows[2]) == {"#": "the line is not JSON"}
    assert faults(rows[3]) == {"#": "the line is not a JSON object"}
    wrong = faults(rows[4])
    assert set(wrong) == {"#/video", "#/fps"} and "plain path" in wrong["#/video"]
    assert set(faults(rows[5])) == {"#/colour"}
    assert faults(rows[6]) == {"#/id": "another row has the id hello"}
    assert set(faults(rows[7])) == {"#/id"}


def test_csv_has_a_heading_with_dots_and_empty_cells_are_not_given():
    rows = read(
        [
            "\ufeffid,video,audio,output.name,encode.crf,refresh\r\n",
            "a,s3://media/anna.mp4,s3://media/1.wav,first,23,true\r\n",
            "\r\n",
            "b,s3://media/anna.mp4,s3://media/2.wav,,,\r\n",
            "c,s3://media/anna.mp4,s3://media/3.wav,x,1,no,more\r\n",
            "d,s3://media/anna.mp4\r\n",
        ],
        "csv",
    )
    assert [row.id for row in rows] == ["a", "b", "row-3", "d"]
    assert (rows[0].job.output.name, rows[0].job.encode.crf, rows[0].job.refresh) == ("first", 23, True)
    assert rows[1].job == LipSyncJob(video="s3://media/anna.mp4", audio="s3://media/2.wav")
    assert "7 cells" in faults(rows[2])["#"]
    assert set(faults(rows[3])) == {"#/audio"}


def test_a_text_may_have_commas_quotes_and_lines_and_a_list_is_json():
    (row,) = read_rows(["text\n", '"Hello, ""you"".\n', 'Bye."\n'], "csv", "speech", SpeechJob)
    assert row.job.text == 'Hello, "you".\nBye.'
    cells = ["image,features\n", 's3://media/a.png,"[""ocr"",""faces""]"\n']
    (row,) = read_rows(cells, "csv", "analyze", AnalyzeJob)
    assert list(row.job.features) == ["ocr", "faces"]


def test_one_line_that_is_no_csv_does_not_spoil_the_rest():
    rows = read(["video,audio\n", 's3://media/a.mp4,"x"y\n', "s3://media/a.mp4,s3://media/1.wav\n"], "csv")
    assert "not CSV" in faults(rows[0])["#"] and rows[1].job is not None
    (row,) = read(["video,audio\n", 's3://media/a.mp4,"never closed\n'], "csv")
    assert "not CSV" in faults(row)["#"]


def test_a_heading_that_contradicts_itself():
    rows = read(["video,audio,output,output.name\n", "s3://media/a.mp4,s3://media/1.wav,x,y\n"], "csv")
    assert "both output" in faults(rows[0])["#"]


def test_defaults_fill_what_a_row_leaves_open_field_by_field():
    defaults = {"video": GOOD["video"], "output": {"bucket": "renders", "prefix": "spring"}}
    rows = read(jsonl({"audio": "s3://media/1.wav", "output": {"name": "one"}}), defaults=defaults)
    output = rows[0].job.output
    assert (output.bucket, output.prefix, output.name) == ("renders", "spring", "one")
    assert defaults["output"] == {"bucket": "renders", "prefix": "spring"}


def test_the_same_work_has_the_same_key_wherever_it_stands():
    first, second, third = read(
        jsonl(GOOD, {"id": "b", "audio": GOOD["audio"], "video": GOOD["video"]}, {**GOOD, "refresh": True})
    )
    assert first.key == second.key != third.key
    (spoken,) = read_rows(jsonl({"text": "Hi."}), "jsonl", "speech", SpeechJob)
    (written,) = read_rows(["text", "Hi."], "csv", "speech", SpeechJob)
    assert spoken.key == written.key


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_line_without_end_is_refused_and_the_next_one_read(form):
    head = ["video,audio\n"] if form == "csv" else []
    good = "s3://media/a.mp4,s3://media/1.wav\n" if form == "csv" else json.dumps(GOOD)
    rows = read([*head, "x" * (MAX_LINE_CHARS + 1), good], form)
    assert "at most" in faults(rows[0])["#"] and rows[1].job is not None


def test_a_deep_line_is_no_way_to_end_the_process():
    rows = read(["[" * 100_000, json.dumps(GOOD)])
    assert set(faults(rows[0])) == {"#"} and rows[1].job is not None


def test_rows_come_one_by_one():
    endless = (json.dumps(GOOD) for _ in itertools.count())
    assert [row.number for row in itertools.islice(read_rows(endless, "jsonl", "x", LipSyncJob), 3)] == [
        1,
        2,
        3,
    ]
