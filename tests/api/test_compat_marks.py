"""POST /job of the C3 Render API: a client declares a job ended, with a message, and removes its data."""

import pytest

WORDS = ["cancelled", "timed_out", "failed"]


def mark(client, run, **body):
    answer = client.post(f"/job/{run.id}", json=body)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("message", [None, "The visitor left."])
@pytest.mark.parametrize("word", WORDS)
def test_a_running_job_is_stopped_and_called_what_its_client_says(client, runs, word, message):
    run = runs.running()

    assert mark(client, run, status=word, **({"error": message} if message else {})) == (
        200,
        {"message": f"Job {run.id} marked as {word}"},
    )

    told = client.get(f"/status/{run.id}").json()
    assert (told["status"], told["error"]) == (word, message or f"Job marked as {word} by client")
    assert client.get(f"/v1/jobs/{run.id}").json()["status"] == "canceled", "it does not run on"
    result = client.get(f"/result/{run.id}")
    if word == "failed":
        assert (result.status_code, result.json()["error"]) == (200, told["error"])
    else:
        expected = {"error": "Job not completed", "status": word, "final": True}
        assert result.status_code == 400 and result.json() == result.json() | expected


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
def test_an_ended_job_is_called_so_too_and_stays_what_it_is_in_v1(client, runs, finished, end, word):
    run = finished() if end == "succeeded" else runs.failed() if end == "failed" else runs.add(status=end)

    assert mark(client, run, status=word, error="Too late.")[0] == 200

    assert client.get(f"/status/{run.id}").json()["status"] == word
    assert client.get(f"/result/{run.id}").status_code == (200 if word == "failed" else 400)
    assert client.get(f"/v1/jobs/{run.id}").json()["status"] == end


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("end", ["running", "succeeded", "failed", "canceled"])
def test_the_data_of_any_job_is_removed(client, runs, finished, end, word):
    run = finished() if end == "succeeded" else runs.failed() if end == "failed" else runs.add(status=end)

    assert mark(client, run, status=word, remove_data=True) == (
        200,
        {"message": f"Job {run.id} marked as {word} and data removed"},
    )
    for path in (f"/status/{run.id}", f"/result/{run.id}"):
        gone = client.get(path)
        assert (gone.status_code, gone.json()["error"]) == (404, "Job not found")


def test_a_long_message_is_cut(client, runs):
    run = runs.running()
    mark(client, run, status="failed", error="x" * 5000)

    assert client.get(f"/status/{run.id}").json()["error"] == "x" * 1000


def test_jobs_of_others_are_not_marked(issue, connect, runs):
    run = runs.running()
    client = connect(headers=issue("other", tenant="other"))

    assert mark(client, run, status="failed")[0] == 404
    assert runs.jobs[run.id].mark is None and runs.jobs[run.id].status == "running"
