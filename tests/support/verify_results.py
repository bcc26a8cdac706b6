"""A result of the verify job."""

from uuid import uuid4

RESULT = {
    "state": "no_manifest",
    "problems": [],
    "embedded": False,
    "manifest": None,
    "sha256": "a" * 64,
    "media_type": "audio/wav",
    "found": [
        {
            "job": str(uuid4()),
            "name": "a.wav",
            "how": "file",
            "confidence": 1.0,
            "picture": None,
            "sound": None,
        }
    ],
    "cached": [],
    "timings_s": {"verify": 0.1},
    "warnings": [],
}
