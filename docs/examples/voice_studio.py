"""
An upstream project: it converts voices, and says so when one is ready. It knows nothing of this package.

PREFECT_API_URL names the server on which `musetalk deploy` was run. Start it with CLIP VOICE BUCKET.
"""

import argparse

from prefect import flow
from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL


@flow
def convert_voice(clip: str, voice: str, bucket: str) -> None:
    """Convert a voice (left out here), then have a clip lip-synced to it."""
    emit_event(
        "media.ready",
        resource={"prefect.resource.id": f"voices.{voice.rpartition('/')[2]}"},
        payload={"video": clip, "audio": voice, "output": {"bucket": bucket, "prefix": "lip_sync"}},
    )


def main() -> None:
    """Announce the voice of the command line; an error is one line."""
    parser = argparse.ArgumentParser(description="Announce a converted voice to a Prefect server.")
    parser.add_argument("clip", help="s3:// address of the video")
    parser.add_argument("voice", help="s3:// address of the converted voice")
    parser.add_argument("bucket", help="bucket for the result")
    arguments = parser.parse_args()
    server = PREFECT_API_URL.value()
    if not server:
        parser.error("set PREFECT_API_URL to the server of `musetalk deploy`: http://127.0.0.1:4200/api")
    try:
        convert_voice(arguments.clip, arguments.voice, arguments.bucket)
    except RuntimeError as error:  # Prefect's client does not reach the server
        raise SystemExit(f"{server} cannot be used: {error}") from None


if __name__ == "__main__":
    main()
