"""Parts of the chaos of a fleet: links that can be cut, S3 that survives a kill, a schedule that replays."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise

import boto3
import durable_s3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from fleet_chaos import work
from fleet_chaos.faults import BETWEEN_S, schedule
from links import Link, linking
from stage import free_port

PROCESSES = ["server-1", "server-2", "api-1", "gpu-1", "gpu-2", "light", "s3"]
LINKS = ["server-1>postgres", "gpu-1>servers", "light>receiver"]


@pytest.fixture
def echo():
    """The port of a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            while block := connection.recv(1000):
                connection.sendall(block)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def connect(port, timeout=5.0):
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def said(connection, words):
    connection.sendall(words)
    return connection.recv(1000)


def test_a_cut_link_resets_connections_and_refuses_new_ones(echo):
    with linking() as links:
        link = Link(links, echo)
        with connect(link.port) as before:
            assert said(before, b"one") == b"one"
            link.cut()
            with pytest.raises(ConnectionError):
                said(before, b"two")
        with pytest.raises(ConnectionError), connect(link.port) as refused:
            said(refused, b"three")
        link.heal()
        with connect(link.port) as after:
            assert said(after, b"four") == b"four"


def test_a_frozen_link_keeps_what_is_sent_until_it_is_healed(echo):
    with linking() as links:
        link = Link(links, echo)
        with connect(link.port) as connection, connect(link.port, 0.3) as impatient:
            assert said(connection, b"one") == b"one"
            link.freeze()
            connection.sendall(b"two")
            with pytest.raises(TimeoutError):
                said(impatient, b"x")
            link.heal()
            assert connection.recv(1000) == b"two"


def test_targets_take_turns_and_one_that_refuses_is_passed_over(echo):
    with linking() as links:
        link = Link(links, free_port(), echo)
        for _ in range(3):
            with connect(link.port) as connection:
                assert said(connection, b"GET / HTTP/1.1\r\n") == b"GET / HTTP/1.1\r\n"
        assert link.requests == 3


def test_a_seed_gives_the_same_faults_and_another_seed_others():
    first = schedule(1, 300, PROCESSES, LINKS)
    assert first == schedule(1, 300, PROCESSES, LINKS) != schedule(2, 300, PROCESSES, LINKS)
    assert {fault.kind for fault in first} == {"kill", "stop", "cut", "freeze"}


@pytest.mark.parametrize("seed", range(5))
def test_two_processes_fail_at_once_and_none_that_has_not_recovered(seed):
    faults = schedule(seed, 600, PROCESSES, LINKS)
    at_once = {}
    for fault in faults:
        if fault.kind in {"kill", "stop"}:
            at_once.setdefault(fault.at_s, []).append(fault)
    assert len(at_once) >= 600 / BETWEEN_S[1] - 2
    assert {len(group) for group in at_once.values()} == {2}
    for name in (*PROCESSES, *LINKS):
        own = [fault for fault in faults if fault.target == name]
        assert all(a.at_s + a.for_s < b.at_s for a, b in pairwise(own)), name
    assert any(fault.for_s > 45 for fault in faults if fault.target.startswith("gpu"))
    assert all(fault.for_s <= 4 for fault in faults if fault.target == "light>receiver")


def start_s3(port, log):
    command = [sys.executable, durable_s3.__file__, str(port), str(log), "media"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 0}),
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            client.list_buckets()
            return process, client
        except Exception:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.slow
def test_what_s3_has_acknowledged_survives_a_kill(tmp_path):
    port = free_port()
    process, s3 = start_s3(port, tmp_path / "log")
    try:
        s3.put_object(Bucket="media", Key="kept", Body=b"one", IfNoneMatch="*")
        s3.put_object(Bucket="media", Key="replaced", Body=b"old")
        s3.put_object(Bucket="media", Key="replaced", Body=b"new")
        s3.put_object(Bucket="media", Key="gone", Body=b"x")
        s3.delete_object(Bucket="media", Key="gone")
        process.kill()
        process.wait()
        process, s3 = start_s3(port, tmp_path / "log")
        found = {one["Key"] for one in s3.list_objects_v2(Bucket="media")["Contents"]}
        assert found == {"kept", "replaced"}
        assert s3.get_object(Bucket="media", Key="replaced")["Body"].read() == b"new"
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket="media", Key="kept", Body=b"two", IfNoneMatch="*")
        assert s3.get_object(Bucket="media", Key="kept")["Body"].read() == b"one"
    finally:
        process.kill()
        process.wait()


def test_pitches_and_colours_tell_jobs_apart():
    assert len({work.pitch_of(number) for number in range(200)}) == 200
    assert work.pitch_of(199) < work.RATE / 2
