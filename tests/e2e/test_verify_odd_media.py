"""Odd and hostile media sent to POST /v1/verify of a real system: a result or a typed refusal."""

import time

import corpus
import httpx
import pytest
from corpus_maker import Maker
from whole_stack import running_stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    with (
        running_stack(tmp_path_factory.mktemp("verify")) as stack,
        httpx.Client(base_url=stack.api_url, timeout=2 * LIMIT_S, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("corpus"))


FILES = {
    **{name: make for name, (make, _) in corpus.HOSTILE.items()},
    **{video.name: video.make for video in corpus.VIDEOS},
    **corpus.SOUNDS,
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_checked_or_refused(api, maker, name):
    path = FILES[name](maker)
    began = time.monotonic()
    with path.open("rb") as file:
        answer = api.post(
            "/v1/verify", files={"file": (path.name, file)}, headers={"Prefer": f"wait={LIMIT_S:.0f}"}
        )
    assert time.monotonic() - began < LIMIT_S
    said = answer.json()
    if answer.status_code == 200:
        assert said["state"] in {"no_manifest", "altered"}, said
    else:
        assert 400 <= answer.status_code < 500 and said["code"] and len(said["detail"].split()) > 3, said
        assert str(path.parent) not in answer.text
    assert api.get("/readyz").status_code == 200
