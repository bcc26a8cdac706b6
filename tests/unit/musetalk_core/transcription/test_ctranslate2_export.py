"""OpenAI's checkpoints in CTranslate2's form compute what the checkpoints compute."""

import ctranslate2
import numpy as np
import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from musetalk_core.errors import ModelNotInstalled, WeightsInvalid
from musetalk_core.runtime.device import choose_device
from musetalk_core.transcription import checkpoint_tensors
from musetalk_core.transcription.ctranslate2_export import convert_to_ctranslate2
from musetalk_core.transcription.ctranslate2_import import _read_container
from musetalk_core.transcription.ctranslate2_model import load_ctranslate2_model

TINY = ModelDimensions(80, 1500, 384, 6, 4, 51865, 448, 384, 6, 4)
STEPS = 8


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A multilingual model of random weights and the checkpoint of it: (network, path)."""
    torch.manual_seed(3)
    net = Whisper(TINY).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            scale = 0.02 if "positional" in name else 0.2
            parameter.copy_(torch.randn_like(parameter) * scale + ("ln" in name and "weight" in name))
            parameter.copy_(parameter.half().float())
        net.encoder.positional_embedding.copy_(net.encoder.positional_embedding.half().float())
    path = tmp_path_factory.mktemp("generated") / "tiny.pt"
    state = {name: value.half() for name, value in net.state_dict().items()}
    torch.save({"dims": vars(TINY), "model_state_dict": state}, path)
    return net, path


@pytest.fixture(scope="module")
def converted(generated, tmp_path_factory):
    target = tmp_path_factory.mktemp("converted") / "model.bin"
    convert_to_ctranslate2(generated[1], target)
    return target


def test_logits_and_tokens_are_those_of_the_checkpoint(generated, converted):
    net, _ = generated
    files = load_ctranslate2_model([converted], "tiny", choose_device("cpu")).source.files
    model = ctranslate2.models.Whisper("generated", device="cpu", compute_type="float32", files=files)
    mel = torch.randn(1, 80, 3000, generator=torch.manual_seed(5))
    prompt = [50258, 50259, 50359, 50363]

    encoded = model.encode(ctranslate2.StorageView.from_array(mel.numpy()))
    [found] = model.generate(
        encoded, [prompt], beam_size=1, max_length=2 * STEPS, return_logits_vocab=True, suppress_tokens=[],
        suppress_blank=False,
    )  # fmt: skip

    with torch.inference_mode():
        sound = net.embed_audio(mel)
        tokens = list(prompt)
        expected = []
        for _ in range(STEPS):
            expected.append(net.logits(torch.tensor([tokens]), sound)[0, -1].numpy())
            tokens.append(int(expected[-1].argmax()))
    assert np.allclose(np.array(encoded), sound.numpy(), atol=2e-3)
    assert found.sequences_ids[0][:STEPS] == tokens[len(prompt) :]
    logits = [np.array(step) for step in found.logits[0][:STEPS]]
    spread = np.std(expected[0])
    assert spread > 0.5, "they differ from token to token"
    assert max(np.abs(a - b).max() for a, b in zip(logits, expected, strict=True)) < 2e-3 * spread


def test_the_published_conversion_is_reproduced_bit_by_bit(packed, checkpoint, tmp_path):
    convert_to_ctranslate2(checkpoint, tmp_path / "model.bin")

    with packed.open("rb") as file:
        published = _read_container(file)
    with (tmp_path / "model.bin").open("rb") as file:
        ours = _read_container(file)
    assert published.keys() <= ours.keys()
    for name, array in published.items():
        assert ours[name].dtype == array.dtype and np.array_equal(ours[name], array), name
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"], "nothing else is left"


def test_names_of_a_hub_give_the_same_file(generated, converted, tmp_path):
    from safetensors.torch import save_file

    renamed = {}
    for key, value in torch.load(generated[1], weights_only=True)["model_state_dict"].items():
        name = key
        for theirs, ours in reversed(checkpoint_tensors._HF_TO_OPENAI.items()):
            name = name.replace(ours, theirs)
        renamed[f"model.{name}"] = value.float()
    save_file(renamed, tmp_path / "model.safetensors")

    convert_to_ctranslate2(tmp_path / "model.safetensors", tmp_path / "model.bin")

    assert (tmp_path / "model.bin").read_bytes() == converted.read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("decoder.blocks.2.cross_attn.value.bias"), r"cross_attn\.value\.bias"),
        (lambda state: state.update({"encoder.extra": torch.zeros(2)}), r"unknown tensor encoder\.extra"),
        (lambda state: state.pop("encoder.conv1.weight"), "does not contain a Whisper model"),
    ],
)
def test_an_incomplete_checkpoint_is_refused_and_leaves_nothing(generated, tmp_path, change, said):
    state = torch.load(generated[1], weights_only=True)["model_state_dict"]
    change(state)
    torch.save({"model_state_dict": state}, tmp_path / "tiny.pt")

    with pytest.raises(WeightsInvalid, match=said):
        convert_to_ctranslate2(tmp_path / "tiny.pt", tmp_path / "model.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.pt"]


@pytest.mark.parametrize("length", [0, 1000, 70_000_000])
def test_a_cut_checkpoint_is_refused(generated, tmp_path, length):
    (tmp_path / "tiny.pt").write_bytes(generated[1].read_bytes()[:length])

    with pytest.raises(WeightsInvalid, match=r"tiny\.pt"):
        convert_to_ctranslate2(tmp_path / "tiny.pt", tmp_path / "model.bin")
    with pytest.raises(ModelNotInstalled):
        convert_to_ctranslate2(tmp_path / "none.pt", tmp_path / "model.bin")
    assert not (tmp_path / "model.bin").exists()
