"""Run one lip_sync job in this process; print time and memory: `job.py HOME VIDEO AUDIO ENGINE PRESET`."""

import json
import os
import resource
import sys
import time
from pathlib import Path


def main(home, video, audio, engine, preset):
    Path(home, "prefect").mkdir(parents=True, exist_ok=True)  # Prefect creates only the last folder
    os.environ.update(
        MUSETALK_HOME=home,
        MUSETALK_STORE__LOCAL_ROOTS=str(Path(video).parent),
        PREFECT_HOME=f"{home}/prefect",
        PREFECT_LOCAL_STORAGE_PATH=f"{home}/results",
        PREFECT_RESULTS_DEFAULT_SERIALIZER="json",
        PREFECT_LOGGING_LEVEL="WARNING",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
        DO_NOT_TRACK="1",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
    )
    from prefect import flow

    from flows.lip_sync import lip_sync
    from flows.schemas.video import LipSyncJob, VideoOptions

    flow(lambda: None, name="warm-up")()  # starts the embedded server

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, spent = time.monotonic(), time.process_time()
    encode = VideoOptions(preset=preset)
    result = lip_sync(
        LipSyncJob(video=f"file://{video}", audio=f"file://{audio}", engine=engine, encode=encode)
    )
    took = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    json.dump(
        {
            "seconds": took,
            "cpu": time.process_time() - spent,
            "frames": result.frames,
            "source_frames": result.faces.frames,
            "timings": result.timings_s,
            "cached": result.cached,
            "rss_mb": peak / 1024,
            "import_mb": before / 1024,
            "child_mb": children / 1024,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
