"""A made-up lineage that is as whole as a real one."""

from datetime import UTC, datetime

from flows.schemas.lineage import Lineage

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lineage_of(job, *parents, **more):
    """Of a job that builds on the outputs of others."""
    file = {"version": "v", "sha256": "a" * 64, "size": 7}
    fields = {
        "job": job,
        "type": "portrait",
        "tenant": None,
        "created": AT,
        "started": AT,
        "finished": AT,
        "program": {"name": "musetalk-flows", "version": "1.2.3", "core": "3"},
        "inputs": [
            {**file, "fields": ["audio"], "name": "x.mp3", "given": f"job://{one}", "resolved": "store://x"}
            for one in parents
        ],
        "outputs": [{**file, "name": "anna.mp4", "uri": f"job://{job}/anna.mp4"}],
        "parents": [{"job": one, "how": "input"} for one in parents],
        "parameters": {"text": "Hello."},
        "settled": {"engine": {"name": "viseme"}},
        "models": [{"name": "face-mesh", "digest": "b" * 64, "files": {"mesh.tflite": "c" * 64}}],
        "rendering": None,
        "cached": [],
        "timings_s": {"render": 1.5},
        "links": {"job": None, "prefect": None},
    }
    return Lineage.model_validate(fields | more)
