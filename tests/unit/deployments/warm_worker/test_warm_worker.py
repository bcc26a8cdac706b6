"""Parts of the warm worker that need no server: messages, order, placement, limits, GPUs, marks."""

import os
import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from deployments.warm_worker.child import process_identity
from deployments.warm_worker.child.devices import child_environments
from deployments.warm_worker.child.protocol import (
    ChildReady,
    FlowLoaded,
    Heartbeat,
    HooksRequest,
    RunFinished,
    RunRequest,
    Shutdown,
    StopRequest,
    decode,
    encode,
)
from deployments.warm_worker.queue.placement import affinity_keys, choose_slot
from deployments.warm_worker.queue.run_queue import RunQueue
from deployments.warm_worker.run.time_limits import first_time_limit, is_expired
from tasks.settings import WorkerSettings

NOW = datetime.now(UTC)


def run(tags=(), queue=None, due=0.0, created=0.0, run_count=0, **parameters):
    return SimpleNamespace(
        id=uuid4(),
        flow_id="f",
        tags=list(tags),
        parameters=parameters,
        work_queue_id=queue,
        next_scheduled_start_time=NOW + timedelta(seconds=due),
        expected_start_time=NOW,
        created=NOW + timedelta(seconds=created),
        run_count=run_count,
    )


@pytest.mark.parametrize(
    "message",
    [
        RunRequest("id", {"A": "b\n"}, "/scratch"),
        StopRequest("time"),
        HooksRequest("id", {"type": "CRASHED"}),
        Shutdown(),
        ChildReady(7, 1.5),
        FlowLoaded(True),
        Heartbeat(5, 6, ("unet",), {"unet": 2}),
        RunFinished("id", -11, None, "tainted", Heartbeat(1)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_come_back_whole_on_one_line(message):
    line = encode(message)
    assert line.count(b"\n") == 1 and decode(line) == message


@pytest.mark.parametrize("line", [b'{"kind": "Nobody"}', b'{"kind": "Stop"}', b"[]", b"{"])
def test_other_lines_are_refused(line):
    with pytest.raises((ValueError, AttributeError, TypeError)):
        decode(line)


def test_urgent_first_then_tenants_in_turns_then_age():
    waiting = RunQueue(client=None, pool="p")
    waiting._queue_names = {name: name for name in ("high", "normal", "low")}
    heavy = [run(["tenant:heavy"], "low", due=number) for number in range(4)]
    light = run(["tenant:light"], "low", due=100)
    nobody = run(queue="low", due=50)
    urgent = run(["tenant:heavy"], "high", due=200)
    for one in (*heavy, light):
        waiting.note_tags(one.tags)
    order = waiting.prioritize([*heavy, light, nobody, urgent], running={"heavy": 1})
    assert order[0] is urgent
    assert {order[1].id, order[2].id} == {light.id, nobody.id}
    assert order[3:] == heavy


def test_the_parameter_outranks_the_queue_a_run_was_put_into():
    waiting = RunQueue(client=None, pool="p")
    waiting._queue_names = {"normal": "normal"}
    plain, urgent = run(queue="normal"), run(queue="normal", due=5, control={"priority": "high"})
    assert waiting.prioritize([plain, urgent], {}) == [urgent, plain]


def test_turns_pass_to_who_was_served_longest_ago():
    waiting = RunQueue(client=None, pool="p")
    runs = {name: run([f"tenant:{name}"], due=number) for number, name in enumerate("abc")}
    for one in runs.values():
        waiting.note_tags(one.tags)
    waiting.rotate_tenant("a")
    assert waiting.prioritize(runs.values(), {})[0] is runs["b"]


def slot(number, warm_keys=(), gpu="", free=True):
    return SimpleNamespace(
        number=number, warm_keys=OrderedDict.fromkeys(warm_keys), gpu=gpu, is_free=free, state="idle"
    )


def test_the_child_with_the_face_wins_then_models_then_the_hinted_card():
    wanted = run(job={"video": "s3://b/anna.mp4", "engine": "musetalk"}, control={"gpu_id": 1})
    models, face = affinity_keys(wanted)
    cold, hinted = slot(0, gpu="0"), slot(1, gpu="1")
    with_models, with_face = slot(2, [models]), slot(3, [models, face])
    assert choose_slot([cold, with_models, with_face, hinted], wanted, (models, face)) is with_face
    assert choose_slot([cold, with_models, hinted], wanted, (models, face)) is with_models
    assert choose_slot([cold, hinted], wanted, (models, face)) is hinted


def test_equals_are_taken_where_least_is_lost():
    wanted = run(job={"image": "a"})
    assert choose_slot([slot(0, ["x", "y"]), slot(1)], wanted, affinity_keys(wanted)).number == 1


def test_the_nearer_limit_counts():
    both = run(control={"max_time": 60, "complete_in": 3600})
    assert first_time_limit(both, None).message == "Job exceeded maximum runtime of 60 seconds"
    late = run(created=-3590, control={"max_time": 60, "complete_in": 3600})
    assert first_time_limit(late, None).reason == "deadline" and first_time_limit(late, None).seconds <= 10
    assert first_time_limit(run(), 90).seconds == 90 and first_time_limit(run(), None) is None
    assert first_time_limit(run(control={"max_time": 5}), 90).seconds == 5


def test_only_what_never_began_expires():
    assert is_expired(run(created=-100, control={"complete_in": 50}))
    assert not is_expired(run(created=-100, run_count=1, control={"complete_in": 50}))
    assert not is_expired(run(created=-100, control={"complete_in": "soon"}))


def test_one_child_a_card_and_shares_share_the_budget(monkeypatch):
    monkeypatch.delenv("MUSETALK_MODELS__MEMORY_BYTES", raising=False)
    children = child_environments(WorkerSettings(gpus=("0", "1", "1")), None)
    assert [child["CUDA_VISIBLE_DEVICES"] for child in children] == ["0", "1", "1"]
    assert "MUSETALK_MODELS__MEMORY_BYTES" not in children[0]
    assert int(children[1]["MUSETALK_MODELS__MEMORY_BYTES"]) == 3 * 1024**3
    assert len(child_environments(WorkerSettings(gpus=("0", "1")), 1)) == 1


def test_children_on_the_processor_share_its_threads(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    children = child_environments(WorkerSettings(), 2)
    assert len(children) == 2
    assert all(int(child["OMP_NUM_THREADS"]) == max(1, os.cpu_count() // 2) for child in children)
    assert {child["CUDA_VISIBLE_DEVICES"] for child in children} == {""}


def test_a_process_is_known_while_it_lives_and_gone_even_as_a_zombie():
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    mark = process_identity.process_token(process.pid)
    assert mark and process_identity.has_process_ended(mark) is False
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped yet
    assert process_identity.has_process_ended(mark) is True
    process.wait()
    process.stdin.close()
    assert (
        process_identity.has_process_ended(mark) is True
        and process_identity.process_token(process.pid) is None
    )


@pytest.mark.parametrize("mark", ["", "elsewhere/1/12/99", "nonsense"])
def test_of_other_machines_nothing_is_known(mark):
    assert process_identity.has_process_ended(mark) is None
