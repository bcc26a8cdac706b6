"""Who does what, by what is asked and what is installed."""

import pytest

from musetalk_core.vision.model_choice import FACES, READER, STARTER, TAGGER, cast_for

SMALL = (READER, TAGGER, FACES)


def test_without_large_models_the_small_ones_do_what_they_can():
    cast = cast_for("auto", ("caption", "ocr", "tags", "faces"), False, SMALL)

    assert (cast.describes, cast.answers, cast.finds) == (STARTER, None, None)
    assert (cast.reads, cast.tags, cast.faces, cast.warnings) == (READER, TAGGER, FACES, ())


def test_what_the_small_ones_cannot_do_is_told():
    cast = cast_for("auto", ("objects",), True, SMALL)

    assert [warning.split(":")[0] for warning in cast.warnings] == [
        "question_not_answered",
        "feature_unavailable",
    ]


def test_nothing_is_told_of_what_was_not_asked_for():
    assert cast_for("auto", ("caption",), False, ()).warnings == ()


@pytest.mark.parametrize(
    ("installed", "describes", "answers", "finds"),
    [
        (("florence-2-base",), "florence-2-base", None, "florence-2-base"),
        (("florence-2-base", "florence-2-large"), "florence-2-large", None, "florence-2-large"),
        (("smolvlm-256m",), "smolvlm-256m", "smolvlm-256m", None),
        (("smolvlm-256m", "florence-2-base"), "florence-2-base", "smolvlm-256m", "florence-2-base"),
        (("qwen3-vl-2b", "smolvlm-500m", "florence-2-base"), "qwen3-vl-2b", "qwen3-vl-2b", "florence-2-base"),
    ],
)
def test_auto_takes_the_best_for_each_part(installed, describes, answers, finds):
    cast = cast_for("auto", ("objects",), True, (*SMALL, *installed))

    assert (cast.describes, cast.answers, cast.finds) == (describes, answers, finds)
    assert cast.reads == READER


def test_a_named_model_does_what_it_can_and_others_the_rest():
    cast = cast_for("florence-2-base", ("objects",), True, (*SMALL, "florence-2-base", "smolvlm-500m"))

    assert (cast.describes, cast.answers, cast.reads) == (
        "florence-2-base",
        "smolvlm-500m",
        "florence-2-base",
    )


def test_starter_means_the_small_ones_alone():
    cast = cast_for("starter", ("objects",), True, (*SMALL, "florence-2-base", "smolvlm-500m"))

    assert (cast.describes, cast.answers, cast.finds) == (STARTER, None, None)
    assert len(cast.warnings) == 2


def test_what_is_not_installed_is_not_used():
    cast = cast_for("auto", ("ocr", "tags", "faces"), False, ())

    assert (cast.reads, cast.tags) == (None, None)
    assert len(cast.warnings) == 2
