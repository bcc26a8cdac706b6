"""
A client of the MuseTalk S3 API, as it has always been: only the address is new.

    python musetalk_s3_client.py http://127.0.0.1:8080 s3://media/anna.mp4 s3://media/hello.wav [KEY]
"""

import argparse
import json
import urllib.error
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


def main() -> None:
    """Lip-sync the files of the command line; an error is one line."""
    parser = argparse.ArgumentParser(description="Lip-sync a video with the MuseTalk S3 API.")
    parser.add_argument("server", help="address of the API, such as http://127.0.0.1:8080")
    parser.add_argument("video", help="s3:// address of the video, which the server reads")
    parser.add_argument("audio", help="s3:// address of the speech")
    parser.add_argument("key", nargs="?", help="API key, if the server requires one")
    arguments = parser.parse_args()
    try:
        made = lip_sync(arguments.server, arguments.video, arguments.audio, arguments.key)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{error.url} answered {error.code}: {error.read(1000).decode()}") from None
    except (OSError, ValueError) as error:  # not reachable, not an address, or another program's answer
        raise SystemExit(f"{arguments.server} cannot be used: {error}") from None
    print(made["message"], made["s3_output_path"] or made["output_path"])


if __name__ == "__main__":
    main()
