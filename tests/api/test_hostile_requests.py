"""Malformed requests: odd numbers, nesting depths, bytes, names, paths and headers, and slow clients."""

import json
import logging
import re
import socket
import time
from contextlib import ExitStack
from urllib.parse import quote, urlsplit

import httpx
import pytest

from api.errors import CODES, Problem
from api.logging import LOGGER_NAME
from api.routes.events import EventPosition
from api.schemas.pagination import Cursor
from tasks.catalog.assets import asset_name

JSON = {"Content-Type": "application/json"}
LIP_SYNC = {"video": "s3://media/anna.mp4", "audio": "s3://media/hello.wav"}


def is_problem(answer):
    return answer.headers["content-type"] == "application/problem+json" and answer.json()["code"] in CODES


@pytest.mark.parametrize(
    "body",
    [
        '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"text": "a", "x": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}",
        '{"text": "a", "seed": ' + "9" * 500_000 + "}",
        '{"text": "a", "seed": ' + "9" * 4000 + "}",
        '{"text": "a", "seed": NaN}',
        '{"text": "a", "temperature": Infinity}',
        '{"text": "a", "speed": -Infinity}',
        '{"text": "a", "speed": 1e400}',
        '{"text": "a", "seed": 1e308}',
        '{"text": "a", "control": {"metadata": {"a": NaN}}}',
        '{"text": "a", "control": {"max_time": 1e999}}',
        '{"text": "a\\u0000b"}',
        '{"text": "a", "control": {"metadata": {"a": "\\u0000"}}}',
        b'{"text": "\xff\xfe"}',
        '{"text": "Hello."}'.encode("utf-16"),
        '{"text": "\ud800"}'.encode("utf-16-le", "surrogatepass"),
        '{"text": "Hello."}'.encode("utf-32"),
        '{"text": "a", "output": {"name": "a\u202egpj.exe"}}',
        '{"text": "a", "output": {"name": "\uff0e\uff0e\uff0fpasswd"}}',
        '{"text": "a", "control": {"tags": ["\uff41dmin"]}}',
        '{"text": "a", "control": {"tenant": "other"}}',
    ],
)
def test_a_body_that_is_odd_is_refused_at_once(client, runs, body):
    began = time.process_time()

    answer = client.post(
        "/v1/jobs/speech", content=body.encode() if isinstance(body, str) else body, headers=JSON
    )

    assert answer.status_code in {400, 422} and is_problem(answer)
    assert time.process_time() - began < 5 and not runs.created


ROWS = '{"job_type": "speech", "rows": [{"text": "a", "x": %s}]}'


@pytest.mark.parametrize(
    "x",
    [
        str(2**63),
        str(-(2**63) - 1),
        "9" * 4000,
        "[[[" + "1" * 30 + "]]]",
        "NaN",
        "-Infinity",
        "1e400",
        "-1E+999",
        "1e100",
        "123456789012e8",
        "[" * 120 + "]" * 120,
        '{"a":' * 120 + "1" + "}" * 120,
    ],
)
def test_what_no_list_of_jobs_could_be_written_with_is_refused(client, runs, x):
    answer = client.post("/v1/batches", content=ROWS % x, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request") and not runs.created


@pytest.mark.parametrize(
    "x", [str(2**63 - 1), str(-(2**63)), '"' + "9" * 40 + '"', "1.5e18", "1e-300", "[" * 90 + "]" * 90]
)
def test_odd_rows_that_can_be_written_are_bad_rows_and_no_more(client, runs, x):
    good = '{"text": "b"}, ' * 120
    body = ROWS.replace('[{"text"', "[" + good.replace("%", "%%") + '{"text"') % x

    assert client.post("/v1/batches", content=body, headers=JSON).status_code == 202
    assert len(runs.created[0][1].rows) == 121


def test_of_a_name_that_comes_twice_the_last_counts_for_everybody(client, runs):
    answer = client.post("/v1/jobs/speech", content=b'{"text": "one", "text": "two"}', headers=JSON)

    assert answer.status_code == 202
    assert [job.text for _, job, _ in runs.created] == ["two"]


def test_a_backslash_before_a_zero_is_only_that(client, runs):
    text = "a \\u0000 in a program, and \\\\u0000 too"

    assert client.post("/v1/jobs/speech", json={"text": text}).status_code == 202
    assert runs.created[0][1].text == text


@pytest.mark.parametrize(
    "rate", ["1e999999999", "1e-999999999", "9" * 100_000, "1/" + "9" * 5000, "1_0", "٢٥", "\uff12\uff15",
             "1/0", "-25", 1e300, "nan", "25 ", " "]
)  # fmt: skip
def test_a_rate_is_reckoned_with_only_if_it_can_be_one(client, rate):
    began = time.process_time()

    answer = client.post("/v1/jobs/lip_sync", json={**LIP_SYNC, "fps": rate})

    assert answer.status_code == {"25 ": 202, 1e300: 400}.get(rate, 422)
    # ten to the power of a thousand million once took for ever; a garbage collection may take two seconds
    assert time.process_time() - began < 20


@pytest.mark.parametrize("rate", ["25", 25, 29.97, "30000/1001", 23.976023976023978, "60.0"])
def test_rates_of_all_spellings_are_taken(client, rate):
    assert client.post("/v1/jobs/lip_sync", json={**LIP_SYNC, "fps": rate}).status_code == 202


@pytest.mark.parametrize(
    "text",
    ["W1tb" * 20_000, "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwgW11d", "e30", "\0", "bnVsbA", "é", "=" * 500],
)
def test_a_cursor_of_somebody_else_s_is_told_so(text):
    with pytest.raises(Problem) as told:
        Cursor.decode(text)

    assert told.value.code == "invalid_input"


@pytest.mark.parametrize("text", ["9" * 5000 + "-0", "0-" + "9" * 5000, "-", "1-1-1-1", "٢-٢", "²-²", "1-"])
def test_an_event_id_of_nobody_s_is_told_so(text):
    with pytest.raises(Problem) as told:
        EventPosition.parse(text)

    assert told.value.code == "malformed_request"


@pytest.mark.parametrize("length", ["²", "٢", "-1", "1" * 5000, "0x10", "1,2"])
def test_a_length_that_is_none_is_refused(client, length):
    answer = client.post(
        "/v1/jobs/speech", content=b"{}", headers={**JSON, "Content-Length": length.encode()}
    )

    assert answer.status_code == 400 and is_problem(answer)


PATHS = [
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2fkeys.json",
    "..%5c..%5ckeys.json",
    "anna_hello.mp4%00.txt",
    "%2fetc%2fpasswd",
    "anna_hello.mp4%0d%0aX-Evil:%201",
    "\uff0e\uff0e\uff0fkeys.json",
    "ANNA_HELLO.MP4",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_leads_to_nothing_but_a_job_s_own_files(client, finished, path):
    run = finished()

    assert client.get(f"/v1/jobs/{run.id}/files/anna_hello.mp4").status_code == 200
    for place in (f"/v1/jobs/{run.id}/files", "/docs/files", "/v1/avatars", "/v1/schemas"):
        answer = client.get(f"{place}/{path}")
        assert answer.status_code in {400, 404, 422} and is_problem(answer), place
        assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    "name",
    ["a\r\nX-Evil: 1.mp4", "../../x.mp4", "..", "a\u202egpj.exe", "\u202e", "x\0y.mp4", "é" * 120, "." * 200,
     "C:\\x", "\uff0fetc\uff0fpasswd", "a\u2028b", '"; filename="y']
)  # fmt: skip
@pytest.mark.parametrize("how", ["query", "header", "form"])
def test_the_name_of_an_upload_is_a_word_and_no_place(client, name, how, tmp_path):
    options = {
        "query": {"params": {"name": name}, "content": b"x"},
        "header": {"headers": {"Content-Disposition": f"x; filename*=UTF-8''{quote(name)}"}, "content": b"x"},
        "form": {"files": {"file": (name, b"x")}},
    }

    answer = client.post("/v1/assets", **options[how])

    if answer.status_code == 201:
        kept = asset_name(answer.json()["id"])
        assert "/" not in kept and "\\" not in kept and ".." not in kept and kept.isprintable()
        assert len(kept) <= 255
    else:
        assert answer.status_code in {400, 422} and is_problem(answer)
    assert "x-evil" not in answer.headers
    assert all(path.is_relative_to(tmp_path) for path in tmp_path.rglob("*x.mp4*"))


def test_nothing_a_client_says_begins_a_line_of_the_log(client, caplog):
    with caplog.at_level(logging.INFO):
        client.get("/nowhere%0d%0a12:00:00%20INFO%20GET%20/v1/jobs%20200%1b[2K%e2%80%a8")
        client.get("/nowhere", headers={"X-Request-ID": "a\x1b[31m"})

    ours = [record for record in caplog.records if record.name == LOGGER_NAME]
    lines = [record.getMessage() for record in ours]
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines), lines
    assert all(re.fullmatch(r"[0-9a-f]{32}", record.request_id) for record in ours)


def raw(server, data, wait_s=20.0):
    """Send bytes as they are; gives what came back before the other side hung up or said enough."""
    where = urlsplit(server)
    with socket.create_connection((where.hostname, where.port), timeout=wait_s) as line:
        line.sendall(data)
        got = b""
        while b"\r\n\r\n" not in got and (block := line.recv(65_536)):
            got += block
    return got


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
        + b"".join(b"X-%d: a\r\n" % n for n in range(20_000))
        + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/jobs/speech HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Request-ID: a\nX-Evil: 1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["long header", "many headers", "long path", "two lengths", "bare line end", "tls"],
)
def test_what_is_no_request_does_not_harm_the_next(server, data):
    try:
        answer = raw(server, data, 3.0)
    except (ConnectionError, TimeoutError):
        answer = b""

    assert b" 500 " not in answer.split(b"\r\n")[0] and b"x-evil" not in answer.lower()
    assert httpx.get(f"{server}/healthz", trust_env=False).is_success


def test_slow_bodies_delay_no_other_request(server):
    where = urlsplit(server)
    begun = b"POST /v1/jobs/speech HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    begun += b"Content-Length: 1000\r\n\r\n{"
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection((where.hostname, where.port), timeout=10))
            for _ in range(100)
        ]
        for line in slow:
            line.sendall(begun)
        # the slow ones never end their requests: a request that waited for one would get no answer
        for _ in range(10):
            answer = httpx.post(f"{server}/v1/jobs/speech", json={"text": "a"}, trust_env=False, timeout=60)
            assert answer.status_code == 202
        assert httpx.get(f"{server}/healthz", trust_env=False, timeout=60).is_success


@pytest.mark.parametrize(
    ("span", "status"),
    [
        ("bytes=0-0", 206),
        ("bytes=99-", 416),
        ("bytes=" + ",".join(f"{n}-" for n in range(5000)), None),
        ("bytes=" + "9" * 5000 + "-", None),
        ("bytes=5-2", None),
        ("nonsense", None),
    ],
)
def test_an_odd_part_of_a_file_is_no_trouble(client, finished, span, status):
    run, began = finished(), time.process_time()

    answer = client.get(f"/v1/jobs/{run.id}/files/anna_hello.mp4", headers={"Range": span})

    assert answer.status_code in ({status} if status else {200, 206, 400, 416})
    assert time.process_time() - began < 20 and len(answer.content) < 100_000


def test_a_warning_names_an_odd_field_as_text_and_nothing_else(client):
    body = {
        "avatars": {"a": {"video_path": "s3://media/v.mp4", "audio_clips": {"b": "s3://media/a.wav"}}},
        "\r\nX-Evil: 1\u202e<script>": 1,
    }

    answer = client.post(
        "/inference",
        params={"avatar_id": "a", "audio_id": "b"},
        json=body,
        headers={"Prefer": "respond-async"},
    )

    assert answer.status_code == 202 and "x-evil" not in answer.headers
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["warnings"]
