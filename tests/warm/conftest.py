import itertools
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    from stage import serving

    with serving(tmp_path_factory.mktemp("warm")) as server:
        yield server


@pytest.fixture
def workers():
    """A function that starts workers, all stopped at the end."""
    from stage import Worker

    started = []

    def start(pool, folder, **options):
        wait = options.pop("wait", True)
        worker = Worker(pool, folder, **options)
        started.append(worker)
        return worker.start(wait=wait)

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def pool(server):
    return server.pool(f"warm-{next(_numbers)}")


@pytest.fixture(scope="module")
def shared_pool(server):
    return server.pool(f"warm-{next(_numbers)}")


@pytest.fixture(scope="module")
def shared_worker(server, shared_pool, tmp_path_factory):
    from stage import Worker

    folder = tmp_path_factory.mktemp("worker")
    (folder / "tmp").mkdir()
    worker = Worker(shared_pool, folder, limit=2, TMPDIR=str(folder / "tmp")).start()
    worker.scratch = folder / "tmp"
    yield worker
    worker.stop()


@pytest.fixture
def shared(shared_worker):
    """One worker with two children for tests that leave it as they found it; both are ready."""
    shared_worker.wait_ready()
    return shared_worker


@pytest.fixture
def own_server(tmp_path):
    from stage import serving

    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def receiver():
    from receiver import receiving

    with receiving() as receiver:
        yield receiver


@pytest.fixture
def light_worker(own_server, receiver, tmp_path, workers):
    """Start a worker of the light pool that may send to the receiver and nowhere else."""
    from webhook_stage import SECRET, Light

    light = Light(own_server)

    def start():
        return workers(
            light,
            tmp_path,
            MUSETALK_EGRESS__ALLOW_HTTP="true",
            MUSETALK_EGRESS__ALLOWED_HOSTS=receiver.host,
            MUSETALK_WEBHOOK__SECRETS=SECRET,
            MUSETALK_WORKER__PRELOAD="",
        )

    return start
