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


def checked_manifest(text: str = "anna", depth: int = 0) -> dict:
    """
    Statements of a manifest with an input that has a manifest of its own.

    Args:
        text:  a part of every text in it.
        depth: number of manifests below this one.
    """
    below = checked_manifest(text, depth - 1) if depth else None
    ingredient = {"title": text, "relationship": "parentOf", "media_type": "video/mp4", "sha256": "b" * 64}
    return {
        "title": f"Lip-synced video {text}",
        "program": f"musetalk-flows {text}",
        "signer": f"musetalk-flows local {text}",
        "issuer": text,
        "signed_at": None,
        "actions": ["c2pa.edited (compositeSynthetic)"],
        "description": f"The mouth was moved. {text}",
        "source_types": ["compositeSynthetic", text],
        "facts": {"job": str(uuid4()), "engine": text},
        "ingredients": [ingredient | {"problems": [text], "manifest": below}],
    }
