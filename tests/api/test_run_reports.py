"""Error reports of failed runs, read back."""

from prefect.client.schemas.objects import State, StateType

from flows.prefect_state.status import read_error

REFUSED = """Validation of flow parameters failed with error: ParameterTypeError: invalid parameters:
 - job.video: A plain path is not a media reference; use s3://bucket/key.
 - job.fps: a frame rate lies between 1 and 120 frames per second"""


def test_parameters_sent_past_the_api_are_the_callers_fault():
    error = read_error(None, State(type=StateType.FAILED, message=REFUSED))

    assert (error.code, error.retryable) == ("invalid_input", False)
    assert error.message == (
        "job.video: A plain path is not a media reference; use s3://bucket/key.;"
        " job.fps: a frame rate lies between 1 and 120 frames per second"
    )


def test_a_crash_may_be_tried_again_and_a_surprise_says_nothing_of_itself():
    crash = read_error(None, State(type=StateType.CRASHED, message="Process exited with status 137."))
    surprise = read_error(None, State(type=StateType.FAILED, message="KeyError: '/home/anna/secret'"))

    assert (crash.code, crash.retryable) == ("internal", True)
    assert (surprise.code, surprise.retryable) == ("internal", False)
    assert "secret" not in surprise.message
