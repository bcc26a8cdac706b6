"""
An upstream project: it converts voices, and says so when one is ready. It knows nothing of this package.

PREFECT_API_URL names the server on which `musetalk deploy` was run. Start it with CLIP VOICE BUCKET.
"""

import sys

from prefect import flow
from prefect.events import emit_event


@flow
def convert_voice(clip: str, voice: str, bucket: str) -> None:
    """Convert a voice (left out here), then have a clip lip-synced to it."""
    emit_event(
        "media.ready",
        resource={"prefect.resource.id": f"voices.{voice.rpartition('/')[2]}"},
        payload={"video": clip, "audio": voice, "output": {"bucket": bucket, "prefix": "lip_sync"}},
    )


if __name__ == "__main__":
    convert_voice(*sys.argv[1:4])
