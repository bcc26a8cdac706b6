"""Texts use the terms of the field: no phrase of the list in tests/support/wording.py."""

import pytest
import wording


def test_no_phrase_of_the_list_is_used():
    found = [hit for name in wording.files() for hit in wording.hits(name)]
    rest = [str(hit) for hit in found if (hit.path, hit.phrase) not in wording.ALLOWED]

    print(*rest, sep="\n")
    assert rest == []


def test_every_allowed_phrase_has_a_reason_and_is_still_there():
    for (path, phrase), reason in wording.ALLOWED.items():
        assert len(reason) > 10
        assert phrase in {hit.phrase for hit in wording.hits(path)}, path


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.md", "one\n\nA GPU is told\nof it.", ["a.md:3: is told", "a.md:3: told of"]),
        ("a.md", "This retold office is told.", ["a.md:1: is told"]),
        ("a.md", "A row that is none.", ["a.md:1: none as a predicate"]),
        ("a.md", "Empty if there is none; the value is None.", []),
        ("a.py", "if nobody is None:\n    whoever = 1\n", []),
        ("a.py", 'x = f"/job/{NOBODY}"\n', []),
        ("a.py", "x = 1  # for whoever\n", ["a.py:1: whoever"]),
        ("a.py", "def f():\n    # kept, so that it is\n    # told later\n    pass\n", ["a.py:2: is told"]),
        ("a.py", 'raise E(\n    f"{x} goes"\n    f" on"\n)\n', ["a.py:2: goes on"]),
        ("a.py", 'x = ["is", "told"]\n', []),
        ("a.py", '"""What it does."""\n', ["a.py:1: docstring begins with a pronoun: What"]),
        ("a.py", '"""Return it."""\nx = "It failed."\n', []),
        (
            "a.py",
            'class A:\n    b: int\n    """\n    It runs.\n    """\n',
            ["a.py:3: docstring begins with a pronoun: It"],
        ),
    ],
)  # fmt: skip
def test_the_search_finds_phrases_in_comments_and_strings(name, text, expected):
    assert [str(hit) for hit in wording.found(name, text)] == expected
