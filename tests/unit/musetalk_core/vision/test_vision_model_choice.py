"""Model selection for image analysis, by request and by installed models."""

import pytest

from musetalk_core.vision.model_choice import FACE_FINDER, READER, STARTER, TAGGER, assign_models

SMALL = (READER, TAGGER, FACE_FINDER)


def test_without_large_models_the_small_ones_do_what_they_can():
    cast = assign_models("auto", ("caption", "ocr", "tags", "faces"), False, SMALL)

    assert (cast.describer, cast.answerer, cast.detector) == (STARTER, None, None)
    assert (cast.reader, cast.tagger, cast.face_finder, cast.warnings) == (READER, TAGGER, FACE_FINDER, ())


def test_what_the_small_ones_cannot_do_is_told():
    cast = assign_models("auto", ("objects",), True, SMALL)

    assert [warning.split(":")[0] for warning in cast.warnings] == [
        "question_not_answered",
        "feature_unavailable",
    ]


def test_nothing_is_told_of_what_was_not_asked_for():
    assert assign_models("auto", ("caption",), False, ()).warnings == ()


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
    cast = assign_models("auto", ("objects",), True, (*SMALL, *installed))

    assert (cast.describer, cast.answerer, cast.detector) == (describes, answers, finds)
    assert cast.reader == READER


def test_a_named_model_does_what_it_can_and_others_the_rest():
    cast = assign_models("florence-2-base", ("objects",), True, (*SMALL, "florence-2-base", "smolvlm-500m"))

    assert (cast.describer, cast.answerer, cast.reader) == (
        "florence-2-base",
        "smolvlm-500m",
        "florence-2-base",
    )


def test_starter_means_the_small_ones_alone():
    cast = assign_models("starter", ("objects",), True, (*SMALL, "florence-2-base", "smolvlm-500m"))

    assert (cast.describer, cast.answerer, cast.detector) == (STARTER, None, None)
    assert len(cast.warnings) == 2


def test_what_is_not_installed_is_not_used():
    cast = assign_models("auto", ("ocr", "tags", "faces"), False, ())

    assert (cast.reader, cast.tagger) == (None, None)
    assert len(cast.warnings) == 2
