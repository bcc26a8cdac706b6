"""Whisper's encoder: its states, its weight files, and speech longer than a piece."""

import numpy as np
import pytest
import torch
from golden_data import golden_cases, load, weights
from safetensors.torch import save_file

from musetalk_core.errors import InputError, ModelNotInstalled, WeightsInvalid
from musetalk_core.formats.pcm import PcmArray
from musetalk_core.networks.whisper_encoder import WhisperEncoder, load_whisper_encoder, log_mel
from musetalk_core.runtime.device import choose_device

CPU = choose_device("cpu")
PREFIX = "model.encoder."


@pytest.fixture
def tensors():
    return {key: torch.from_numpy(value) for key, value in weights.tensors("whisper").items()}


def openai_names(tensors, width=1536):
    """The same encoder as OpenAI would have saved it, full feed-forward width included."""
    out = {}
    for key, value in tensors.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        for theirs, ours in (
            ("embed_positions.weight", "positional_embedding"),
            ("self_attn_layer_norm", "attn_ln"),
            ("final_layer_norm", "mlp_ln"),
            ("layer_norm.", "ln_post."),
            ("layers.", "blocks."),
            ("self_attn.q_proj", "attn.query"),
            ("self_attn.k_proj", "attn.key"),
            ("self_attn.v_proj", "attn.value"),
            ("self_attn.out_proj", "attn.out"),
            ("fc1", "mlp.0"),
            ("fc2", "mlp.2"),
        ):
            name = name.replace(theirs, ours)
        full = value
        if ".mlp.0." in name:
            full = torch.zeros(width, *value.shape[1:])
            full[: len(value)] = value
        if name.endswith("mlp.2.weight"):
            full = torch.zeros(384, width)
            full[:, : value.shape[1]] = value
        out[f"encoder.{name}"] = full
    return out


def first_rows(whisper):
    return whisper.encode_segment(np.sin(np.arange(8000, dtype=np.float32) / 9))[:25]


@pytest.fixture(scope="module")
def expected(golden_whisper):
    return first_rows(golden_whisper)


class LoudestOfEachRow(WhisperEncoder):
    """Streams like the encoder, without one: a row is the loudest of its samples, a piece adds its number."""

    __slots__ = ("pieces",)

    def encode_segment(self, samples):
        self.pieces.append(len(samples))
        rows = samples.reshape(1500, 320).max(axis=1) + 10 * len(self.pieces)
        return np.broadcast_to(rows[:, None, None], (1500, 5, 384)).astype(np.float32)


@pytest.fixture
def streaming():
    out = LoudestOfEachRow(None, CPU)
    object.__setattr__(out, "pieces", [])
    return out


def noise(seconds):
    return PcmArray(0.1 * np.random.default_rng(1).standard_normal(int(seconds * 16000)).astype(np.float32))


@pytest.mark.parametrize(("folder", "name"), golden_cases("audio", "*/mel0_head"))
def test_the_spectrogram_is_that_of_the_original(folder, name, golden_speech):
    arrays, speech = load(folder, "audio"), golden_speech(name)
    for piece in (0, 1):
        if f"{name}/mel{piece}_head" not in arrays:
            continue
        start = piece * 480_000
        found = log_mel(speech.read(start, min(speech.count, start + 480_000))).numpy()
        assert found.shape == (80, 3000)
        head = arrays[f"{name}/mel{piece}_head"]
        np.testing.assert_allclose(found[:, : head.shape[1]], head, atol=1e-4)
        if f"{name}/mel{piece}_tail" in arrays:
            np.testing.assert_allclose(found[:, -20:], arrays[f"{name}/mel{piece}_tail"], atol=1e-4)


@pytest.mark.parametrize(("folder", "name"), golden_cases("audio", "*/hs_rows"))
def test_the_states_are_those_of_the_original(folder, name, golden_states):
    arrays, states = load(folder, "audio"), golden_states(name)

    rows = arrays[f"{name}/hs_rows"]
    assert states.dtype == np.float32
    assert rows.max() < len(states)
    np.testing.assert_allclose(states[rows], arrays[f"{name}/hs"], atol=2e-4)


def test_the_padding_of_the_last_piece_is_taken_off(golden_states):
    assert golden_states("long").shape == (1565, 5, 384)
    assert golden_states("tiny").shape == (2, 5, 384)


def test_a_few_samples_give_no_row(streaming):
    assert list(streaming.encode(PcmArray(np.zeros(7, np.float32)))) == []


def test_pieces_are_encoded_by_themselves_and_progress_is_told(streaming):
    told, speech = [], noise(61.3)

    parts = list(streaming.encode(speech, told.append))

    assert [len(part) for part in parts] == [1500, 1500, 65]
    assert told == [1500, 3000, 3065]
    assert streaming.pieces == [480_000] * 3
    loudest = speech.samples[: 3065 * 320].reshape(3065, 320).max(axis=1)
    number = np.arange(3065) // 1500 + 1
    np.testing.assert_allclose(np.concatenate(parts)[:, 2, 7], loudest + 10 * number, atol=1e-6)


def test_a_piece_that_just_ends_makes_no_further_one(streaming):
    assert [len(part) for part in streaming.encode(noise(30.01))] == [1500]


@pytest.mark.parametrize(("overlap", "sizes"), [(2, [1400, 250]), (15, [750, 900]), (0.02, [1499, 151])])
def test_overlapping_pieces_fade_into_each_other(streaming, overlap, sizes):
    speech, shared = noise(33), round(overlap * 50)

    parts = list(streaming.encode(speech, overlap_s=overlap))

    assert [len(part) for part in parts] == sizes
    loudest = speech.samples.reshape(1650, 320).max(axis=1)
    share = np.zeros(1650)
    share[1500 - shared : 1500] = np.arange(1, shared + 1) / (shared + 1)
    share[1500:] = 1
    np.testing.assert_allclose(np.concatenate(parts)[:, 0, 0], loudest + 10 + 10 * share, atol=1e-5)


def test_overlaps_need_no_piece_that_says_nothing_new(streaming):
    assert [len(part) for part in streaming.encode(noise(58), overlap_s=2)] == [1400, 1500]


@pytest.mark.parametrize("overlap", [-0.1, 15.1, float("nan")])
def test_other_overlaps_are_refused(streaming, overlap):
    with pytest.raises(InputError, match="share"):
        next(streaming.encode(noise(1), overlap_s=overlap))


def test_a_longer_piece_is_refused(golden_whisper):
    with pytest.raises(InputError, match="480000"):
        golden_whisper.encode_segment(np.zeros(480_001, np.float32))


def test_a_file_of_openai_and_one_of_hugging_face_say_the_same(tmp_path, tensors, expected):
    torch.save({"dims": {"n_mels": 80}, "model_state_dict": openai_names(tensors)}, tmp_path / "tiny.pt")
    bare = {key.removeprefix("model."): value for key, value in tensors.items()}
    save_file(bare, str(tmp_path / "bare.safetensors"))

    np.testing.assert_array_equal(first_rows(load_whisper_encoder(tmp_path, CPU)), expected)
    np.testing.assert_array_equal(
        first_rows(load_whisper_encoder(tmp_path / "bare.safetensors", CPU)), expected
    )


def test_half_precision_on_disk_is_computed_in_full(tmp_path, tensors, expected):
    half = {key: value.half() for key, value in openai_names(tensors).items()}
    torch.save({"dims": {}, "model_state_dict": half}, tmp_path / "tiny.pt")

    found = first_rows(load_whisper_encoder(tmp_path / "tiny.pt", CPU))

    assert 0 < np.abs(found - expected).max() < 0.05


def test_half_precision_is_near(golden_models, expected):
    half = load_whisper_encoder(golden_models("whisper") / "whisper", choose_device("cpu", "bf16"))

    found = first_rows(half)

    assert found.dtype == np.float32
    assert np.abs(found - expected).mean() < 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop(PREFIX + "layers.2.self_attn.q_proj.weight"),
            "missing 1: .*layers.2.self_attn.q_proj",
        ),
        (
            lambda t: t.update({PREFIX + "layers.4.fc1.bias": torch.zeros(1)}),
            "unknown 1: .*layers.4.fc1.bias",
        ),
        (
            lambda t: t.update({PREFIX + "conv1.bias": torch.zeros(512)}),
            "encoder.conv1.bias .512,. instead of",
        ),
        (lambda t: t.update({PREFIX + "layers.0.fc1.bias": torch.zeros(2048)}), "layers.0.fc1.bias .2048,."),
        (lambda t: t.update({PREFIX + "layers.0.fc2.weight": torch.zeros(())}), "layers.0.fc2.weight .. "),
        (lambda t: [t.pop(key) for key in list(t) if key.startswith(PREFIX)], "holds no encoder"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_as_the_file_names_it(tmp_path, tensors, change, message):
    change(tensors)
    torch.save(tensors, tmp_path / "pytorch_model.bin")

    with pytest.raises(WeightsInvalid, match=message):
        load_whisper_encoder(tmp_path, CPU)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelNotInstalled, match=r"tiny\.pt"):
        load_whisper_encoder(tmp_path, CPU)
    with pytest.raises(ModelNotInstalled, match=r"other\.bin"):
        load_whisper_encoder(tmp_path / "other.bin", CPU)
