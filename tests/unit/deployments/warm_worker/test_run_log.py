"""Lines that a worker process omits from the log of Prefect, and names of runs without a chosen one."""

import logging
from uuid import UUID

import pytest

from deployments.warm_worker.child.log_filter import omit_repeated_lines
from deployments.warm_worker.child.run_names import describe_run

RUN = UUID("0123456789abcdef0123456789abcdef")


def test_only_the_end_of_a_successful_step_is_left_out():
    omit_repeated_lines()
    omit_repeated_lines()
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    steps, flows = (logging.getLogger(f"prefect.{kind}_runs") for kind in ("task", "flow"))
    levels = [logger.level for logger in (steps, flows)]
    for logger in (steps, flows):
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        steps.info("Finished in state Completed()")
        steps.info("Finished in state Cached(type=COMPLETED)")
        steps.error("Finished in state Failed('no face')")
        steps.info("Rendered 250 frames.")
        flows.info("Finished in state Completed()")
    finally:
        for logger, level in zip((steps, flows), levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
    assert said == [
        "Finished in state Cached(type=COMPLETED)",
        "Finished in state Failed('no face')",
        "Rendered 250 frames.",
        "Finished in state Completed()",
    ]


@pytest.mark.parametrize(
    ("flow", "parameters", "name"),
    [
        (
            "lip_sync",
            {"job": {"video": "s3://b1c/a.mp4", "audio": "s3://b1c/b.wav"}},
            "lip_sync: a.mp4, b.wav",
        ),
        ("janitor", {"job": {}}, "janitor"),
        ("janitor", {}, "janitor"),
        ("announce", {"job": {"run": "3f2a1b00-aaaa"}}, "announce: job 3f2a1b00"),
        ("render_new", {"job": {"name": "nightly"}}, "render_new: nightly"),
    ],
)
def test_a_run_without_a_chosen_name_is_named_after_its_purpose(flow, parameters, name):
    assert describe_run(flow, parameters, RUN) == f"{name} (01234567)"
