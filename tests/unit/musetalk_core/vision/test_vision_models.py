"""Florence-2 and models that talk, through the real loading code, on tiny weights of the same classes."""

import json

import numpy as np
import pytest

from musetalk_core.errors import ModelNotInstalled, WeightsInvalid
from musetalk_core.types import Box
from musetalk_core.vision import florence, vlm_chat
from musetalk_core.vision.vlm_loader import load_vlm

PICTURE = np.full((300, 400, 3), 200, np.uint8)
OBJECTS = "cat<loc_100><loc_200><loc_499><loc_799>bowl<loc_0><loc_0><loc_999><loc_999>"
LINES = "No exit<loc_10><loc_20><loc_500><loc_20><loc_500><loc_80><loc_10><loc_80>"


@pytest.mark.parametrize("length", ["short", "normal", "long"])
def test_florence_describes(machines, length):
    model = load_vlm("florence-2-base", machines("florence-2-base", "A cat on a mat."))

    assert type(model.net).__name__ == "Florence2ForConditionalGeneration"
    assert florence.caption(model, PICTURE, length) == "A cat on a mat."


def test_florence_finds_objects_in_pixels_of_the_picture(machines):
    model = load_vlm("florence-2-base", machines("florence-2-base", OBJECTS))

    cat, bowl = florence.detect_objects(model, PICTURE)

    assert (cat.label, cat.box, cat.score) == ("cat", Box(40, 60, 199, 239), None)
    assert (bowl.label, bowl.box) == ("bowl", Box(0, 0, 399, 299))


def test_florence_reads(machines):
    model = load_vlm("florence-2-base", machines("florence-2-base", LINES))

    [line] = florence.read_text(model, PICTURE)

    assert (line.text, line.box, len(line.corners)) == ("No exit", Box(4, 6, 200, 24), 4)


def test_a_model_that_talks_answers_without_repeating_the_question(machines):
    model = load_vlm("smolvlm-256m", machines("smolvlm-256m", "Yes, two"))

    assert type(model.net).__name__ == "Idefics3ForConditionalGeneration"
    assert vlm_chat.answer(model, PICTURE, "Are there cats?", "short") == "Yes, two"
    assert vlm_chat.describe(model, PICTURE, "long") == "Yes, two"


def test_a_picture_of_any_size_is_taken(machines):
    model = load_vlm("smolvlm-256m", machines("smolvlm-256m", "Big"))

    for size in ((2, 3), (3000, 40), (2500, 2600)):
        assert vlm_chat.answer(model, np.zeros((*size, 3), np.uint8), "What?", "short") == "Big"


def test_a_model_is_loaded_once(machines):
    machine = machines("smolvlm-256m", "One")

    assert load_vlm("smolvlm-256m", machine) is load_vlm("smolvlm-256m", machine)


def test_a_model_that_is_missing_is_named_with_its_cure(starter, machines):
    machine = machines("smolvlm-256m", "x")

    with pytest.raises(ModelNotInstalled, match="musetalk weights pull florence-2-large"):
        load_vlm("florence-2-large", machine)


def test_damaged_weights_are_told(machines):
    machine = machines("smolvlm-256m", "x")
    weights = machine.local_models.find("smolvlm-256m")["weights"]
    weights.write_bytes(weights.read_bytes()[:1000])

    with pytest.raises(WeightsInvalid, match="smolvlm-256m"):
        load_vlm("smolvlm-256m", machine)


def test_code_beside_the_weights_is_not_run(machines, tmp_path):
    machine = machines("smolvlm-256m", "x")
    config = machine.local_models.find("smolvlm-256m")["config"]
    trap = tmp_path / "sprung"
    (config.parent / "modeling_trap.py").write_text(f"open({str(trap)!r}, 'w')")
    changed = json.loads(config.read_text()) | {
        "model_type": "trap",
        "auto_map": {"AutoModelForImageTextToText": "modeling_trap.Trap", "AutoConfig": "modeling_trap.Trap"},
    }
    config.write_text(json.dumps(changed))

    with pytest.raises(WeightsInvalid):
        load_vlm("smolvlm-256m", machine)
    assert not trap.exists()
