"""Word error rate, pooled over texts, after whisper's own normaliser for English."""

from collections.abc import Iterable

import numpy as np


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Wrong, missing and surplus words per word of the references; `pairs` of (reference, heard)."""
    from whisper.normalizers import EnglishTextNormalizer

    normal = EnglishTextNormalizer()
    errors = words = 0
    for reference, heard in pairs:
        wanted, got = normal(reference).split(), normal(heard).split()
        errors += _distance(wanted, got)
        words += len(wanted)
    return errors / words


def _distance(wanted: list[str], got: list[str]) -> int:
    row = np.arange(len(got) + 1)
    for i, word in enumerate(wanted, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return int(row[-1])
