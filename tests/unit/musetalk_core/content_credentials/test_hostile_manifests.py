"""Manifest stores that are nested deeply or huge: an answer within the limits of the reading process."""

import struct
import time

import pytest

from musetalk_core.content_credentials.certificates import issue_signer, make_authority
from musetalk_core.content_credentials.claims import Claim
from musetalk_core.content_credentials.isolated import verify_isolated
from musetalk_core.content_credentials.signing import Signer, sign_file

CLAIM = Claim("Text", "c2pa.created", "trainedAlgorithmicMedia", "A text.", "musetalk-flows", "1")
LIMIT_S = 60.0
CLAIM_LABEL = b"c2pa.claim"
DESCRIPTION = b"c2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71\x03c2pa\x00"


def box(kind, content):
    return struct.pack(">I4s", len(content) + 8, kind) + content


def with_claim(store, content):
    """A manifest store whose claim has other content; the lengths of all boxes around it fit."""
    out, position, label = b"", 0, b""
    while position < len(store):
        length, kind = struct.unpack_from(">I4s", store, position)
        inner = store[position + 8 : position + length]
        label = inner if kind == b"jumd" else label
        if kind == b"jumb":
            inner = with_claim(inner, content)
        elif kind == b"cbor" and CLAIM_LABEL in label:
            inner = content
        out += box(kind, inner)
        position += length
    return out


def nested_boxes(_, depth):
    """Superboxes in superboxes, each with a description."""
    description = box(b"jumd", DESCRIPTION)
    size = len(description) + 8
    heads = [struct.pack(">I4s", size * level, b"jumb") + description for level in range(depth, 0, -1)]
    return b"".join(heads)


def nested_arrays(store, depth):
    """A claim of arrays in arrays."""
    return with_claim(store, b"\x81" * depth + b"\x00")


def long_text(store, size):
    """A claim with one text of so many bytes."""
    return with_claim(store, b"\xa1\x61a\x7a" + struct.pack(">I", size) + b"a" * size)


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A text file with the manifest store beside it."""
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text("some words")
    pair = issue_signer(make_authority("a"), "b")
    store = sign_file(path, path, "text/plain", CLAIM, Signer(pair.chain, "es256", pair.private_key))
    return path, store.read_bytes()


def test_a_store_is_rebuilt_byte_for_byte(signed):
    """The hostile stores below are what c2pa-rs reads as far as their claim."""
    _, store = signed
    start = store.index(CLAIM_LABEL)
    begin = store.index(b"cbor", start) + 4
    content = store[begin : begin - 8 + int.from_bytes(store[begin - 8 : begin - 4])]
    assert with_claim(store, content) == store != with_claim(store, b"\x00")


@pytest.mark.parametrize(
    ("make", "amount"),
    [
        (nested_boxes, 10),
        (nested_boxes, 10_000),
        (nested_boxes, 200_000),
        (nested_arrays, 10),
        (nested_arrays, 100_000),
        (nested_arrays, 5_000_000),
        (long_text, 100_000_000),
    ],
)
def test_a_hostile_store_is_an_answer(signed, tmp_path, make, amount):
    path, store = signed
    sidecar = tmp_path / "store.c2pa"
    sidecar.write_bytes(make(store, amount))
    began = time.monotonic()
    found = verify_isolated(path, "text/plain", anchors="", sidecar=sidecar, limit_s=LIMIT_S)
    assert time.monotonic() - began < LIMIT_S
    assert found["state"] == "altered" and found["manifest"] is None
    assert found["problems"] and all(len(one) < 1_000 for one in found["problems"])
