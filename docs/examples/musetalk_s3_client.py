"""
A client of the MuseTalk S3 API, as it has always been: only the address is new.

    python musetalk_s3_client.py http://127.0.0.1:8080 s3://media/anna.mp4 s3://media/hello.wav [KEY]
"""

import json
import sys
import urllib.request


def lip_sync(server: str, video: str, audio: str, key: str | None = None) -> dict[str, object]:
    """Post one job and wait for its answer; the request stays open until the video is made."""
    body = {"avatars": {"anna": {"video_path": video, "audio_clips": {"hello": audio}}}}
    request = urllib.request.Request(
        f"{server}/inference?avatar_id=anna&audio_id=hello",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


if __name__ == "__main__":
    made = lip_sync(*sys.argv[1:])
    print(made["message"], made["s3_output_path"] or made["output_path"])
