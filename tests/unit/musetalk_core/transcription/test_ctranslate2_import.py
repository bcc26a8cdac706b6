"""The starter model in openai-whisper's own form, and the same model from a hub's files."""

import pytest
import torch
import whisper
from torch import nn

from musetalk_core.errors import ModelNotInstalled, WeightsInvalid
from musetalk_core.runtime.device import choose_device
from musetalk_core.transcription import checkpoint_tensors, whisper_model
from musetalk_core.transcription.ctranslate2_import import convert_to_openai
from musetalk_core.transcription.whisper_model import load_whisper_model


def test_the_library_opens_what_was_converted(checkpoint):
    theirs = whisper.load_model(str(checkpoint), device="cpu")

    assert theirs.dims.n_vocab == 51864 and not theirs.is_multilingual
    stored = torch.load(checkpoint, weights_only=True)["model_state_dict"]
    assert len(stored) == 167
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert checkpoint.stat().st_size < 76_000_000


def test_parts_are_joined(packed, checkpoint, tmp_path):
    whole = packed.read_bytes()
    (tmp_path / "1").write_bytes(whole[:1_000_000])
    (tmp_path / "2").write_bytes(whole[1_000_000:])

    convert_to_openai([tmp_path / "1", tmp_path / "2"], tmp_path / "joined.pt")

    first, second = (torch.load(path, weights_only=True) for path in (checkpoint, tmp_path / "joined.pt"))
    assert first["dims"] == second["dims"]
    pairs = zip(first["model_state_dict"].items(), second["model_state_dict"].items(), strict=True)
    assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


@pytest.mark.parametrize("length", [0, 3, 50_000, 70_000_000])
def test_a_cut_file_is_refused(packed, tmp_path, length):
    (tmp_path / "cut.bin").write_bytes(packed.read_bytes()[:length])

    with pytest.raises(WeightsInvalid, match=r"cut\.bin"):
        convert_to_openai([tmp_path / "cut.bin"], tmp_path / "cut.pt")
    assert not (tmp_path / "cut.pt").exists()


def test_names_of_a_hub_are_understood(checkpoint, tiny_en, tmp_path):
    from safetensors.torch import save_file

    stored = torch.load(checkpoint, weights_only=True)["model_state_dict"]
    renamed = {}
    for key, value in stored.items():
        name = key
        for theirs, ours in reversed(checkpoint_tensors._HF_TO_OPENAI.items()):
            name = name.replace(ours, theirs)
        renamed[f"model.{name}"] = value
    renamed["proj_out.weight"] = renamed["model.decoder.embed_tokens.weight"].clone()
    assert "model.encoder.layers.0.self_attn.q_proj.weight" in renamed
    assert "model.decoder.layers.3.encoder_attn_layer_norm.bias" in renamed
    save_file(renamed, tmp_path / "model.safetensors")

    same = load_whisper_model(tmp_path / "model.safetensors", "tiny.en", choose_device("cpu"))

    ours = tiny_en.net.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in same.net.state_dict().items())


def test_weights_halved_once_hear_what_weights_halved_at_every_use_hear(checkpoint):
    """The published weights are in half precision, so that nothing is lost."""
    net = load_whisper_model(checkpoint, "tiny.en", choose_device("cpu")).net
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.half().float()
    torch.manual_seed(0)
    window, tokens = torch.randn(1, 80, 3000).half(), torch.randint(0, 50_000, (1, 12))

    def heard():
        with torch.inference_mode():
            sound = net.embed_audio(window)
            return sound, net.logits(tokens, sound)

    full, before = heard(), sum(tensor.nbytes for tensor in net.parameters())
    whisper_model._convert_to_half(net)

    assert all(torch.equal(one, other) for one, other in zip(heard(), full, strict=True))
    assert sum(tensor.nbytes for tensor in net.parameters()) < 0.52 * before
    assert {part.weight.dtype for part in net.modules() if isinstance(part, nn.LayerNorm)} == {torch.float32}


def test_what_is_no_whisper_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")

    with pytest.raises(WeightsInvalid, match="does not contain a Whisper model"):
        load_whisper_model(tmp_path / "other.pt", "tiny", choose_device("cpu"))
    with pytest.raises(ModelNotInstalled):
        load_whisper_model(tmp_path / "none.pt", "tiny", choose_device("cpu"))
