"""CSM through its real classes, with random weights: what is read, in which context, and what goes wrong."""

import socket
import threading

import numpy as np
import pytest
import torch

from musetalk_core.errors import EngineError, InputError, ModelNotInstalled, WeightsInvalid
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.runtime.config import RuntimeConfig
from musetalk_core.runtime.model_cache import model_cache
from musetalk_core.speech.tts.csm.model import FRAME_S, RATE_HZ, ContextTurn, Sampling, load_csm
from musetalk_core.speech.tts.csm.retries import (
    MAX_ATTEMPTS,
    frame_limit,
    generate_with_retries,
    max_text_chars,
)

WORDS = "Well then."
FRAME = round(FRAME_S * RATE_HZ)


@pytest.fixture(scope="module")
def machine(tiny_csm):
    return RuntimeConfig(LocalModels(tiny_csm, tiny_csm / "ledger.json"), device="cpu", memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def voice(machine):
    return load_csm(machine)


def tone(seconds, hz=150):
    return np.sin(np.arange(int(seconds * RATE_HZ)) * 2 * np.pi * hz / RATE_HZ).astype(np.float32) * 0.3


CHANCE = Sampling()


def say(voice, seed, context=(), frames=15, sampling=CHANCE):
    return voice.generate(WORDS, context, frames, sampling, seed)


@pytest.fixture(scope="module")
def seed_where(voice):
    """The first seed with which the words come out in some way; every seed is tried once."""
    tried = []

    def find(wanted):
        for seed in range(200):
            if seed == len(tried):
                tried.append(say(voice, seed, frames=frame_limit(WORDS, 10)))
            if wanted(tried[seed]):
                return seed
        return pytest.fail("no seed does that")

    return find


def test_it_is_loaded_once_and_asks_no_network(machine, voice, monkeypatch):
    me, connect, resolve = threading.get_ident(), socket.socket.connect, socket.getaddrinfo

    def guarded(real):  # other threads may belong to another test's server
        def call(*words, **more):
            return pytest.fail("asked the network") if threading.get_ident() == me else real(*words, **more)

        return call

    monkeypatch.setattr(socket.socket, "connect", guarded(connect))
    monkeypatch.setattr(socket, "getaddrinfo", guarded(resolve))
    lean = RuntimeConfig(machine.local_models, device="cpu", memory_bytes=1 << 20)

    assert load_csm(machine) is voice
    assert say(load_csm(lean), 1).samples.tolist() == say(voice, 1).samples.tolist()
    assert load_csm(lean) is load_csm(lean)
    assert set(model_cache(1 << 20, lean.idle_s).loads.values()) == {1}
    assert model_cache(1 << 20, lean.idle_s).bytes > 500_000


def test_sampling_reaches_both_decoders_and_a_seed_decides(voice):
    first = say(voice, 0, sampling=Sampling(0.7, 9))

    inner = voice.model.depth_decoder.generation_config
    assert (inner.do_sample, inner.temperature, inner.top_k) == (True, 0.7, 9)
    assert np.array_equal(first.samples, say(voice, 0, sampling=Sampling(0.7, 9)).samples)
    assert len({len(say(voice, seed, frames=12).samples) for seed in range(6)}) > 1


def test_temperature_zero_takes_the_likeliest_whatever_the_seed(voice):
    one, other = (say(voice, seed, sampling=Sampling(temperature=0)) for seed in (0, 1))

    assert np.array_equal(one.samples, other.samples)


def test_other_random_numbers_are_left_alone(voice):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    say(voice, 3)

    assert torch.equal(torch.rand(3), expected)


def test_the_context_is_heard(voice):
    context = [ContextTurn("Something else.", tone(1))]

    alone, after = (say(voice, 0, said, frames=30) for said in ((), context))
    assert not np.array_equal(alone.samples, after.samples)


def test_marks_of_the_format_in_a_text_are_no_marks(voice):
    marked = voice.generate("<|AUDIO|>Well <|audio_eos|>then.<|end_of_text|>", (), 15, CHANCE, 0)

    assert np.array_equal(marked.samples, voice.generate(" Well  then. ", (), 15, CHANCE, 0).samples)


def test_whole_frames_come_out_and_the_end_is_known(voice):
    for seed in range(3):
        spoken = say(voice, seed)
        assert len(spoken.samples) % FRAME == 0
        assert spoken.ended or len(spoken.samples) == 15 * FRAME


def test_frames_are_told_and_an_error_in_between_ends_it_at_once(voice, seed_where):
    told = []
    spoken = voice.generate(WORDS, (), 15, Sampling(), 2, told.append)
    assert told == list(range(1, len(spoken.samples) // FRAME + 1 + spoken.ended))

    def stop(frame):
        if frame == 3:
            raise KeyboardInterrupt

    endless = seed_where(lambda one: not one.ended)
    seen = []
    with pytest.raises(KeyboardInterrupt):
        voice.generate(WORDS, (), 15, Sampling(), endless, lambda n: (seen.append(n), stop(n)))
    assert seen == [1, 2, 3]
    assert np.array_equal(say(voice, endless).samples, say(voice, endless).samples), "it speaks on afterwards"


def test_a_sentence_that_comes_out_empty_is_read_again(voice, seed_where):
    empty = seed_where(lambda one: not len(one.samples))

    reading = generate_with_retries(voice, WORDS, (), max_duration_s=10, sampling=Sampling(), seed=empty)

    assert 1 < reading.attempts <= MAX_ATTEMPTS
    assert len(reading.samples) > 0


def test_a_sentence_that_does_not_end_is_read_again(voice, seed_where):
    endless = seed_where(lambda one: not one.ended)

    reading = generate_with_retries(voice, WORDS, (), max_duration_s=10, sampling=Sampling(), seed=endless)

    assert reading.attempts > 1
    if not reading.warning:
        assert say(voice, endless + reading.attempts - 1, frames=frame_limit(WORDS, 10)).ended


def test_what_never_gets_better_is_told(machine):
    mute = load_csm(RuntimeConfig(machine.local_models, device="cpu", memory_bytes=1 << 21))
    with torch.no_grad():
        weights = mute.model.lm_head.weight.clone()
        mute.model.lm_head.weight.zero_()  # of equal scores the first is taken: the end
    try:
        with pytest.raises(EngineError, match="made no sound") as caught:
            generate_with_retries(
                mute, WORDS, (), max_duration_s=10, sampling=Sampling(temperature=0), seed=0
            )
        assert caught.value.retryable
    finally:
        with torch.no_grad():
            mute.model.lm_head.weight.copy_(weights)


def test_an_endless_sentence_is_cut_and_told(voice, seed_where, monkeypatch):
    monkeypatch.setattr("musetalk_core.speech.tts.csm.retries.MAX_ATTEMPTS", 1)
    endless = seed_where(lambda one: not one.ended)

    reading = generate_with_retries(voice, WORDS, (), max_duration_s=10, sampling=Sampling(), seed=endless)

    assert reading.warning == "it did not end in time and was cut off"


@pytest.fixture
def narrow(voice, monkeypatch):
    """The same model, said to take in less."""
    monkeypatch.setattr(voice.model.config, "max_position_embeddings", 256)
    return voice


def test_context_is_bounded_and_the_voice_stays(narrow, monkeypatch):
    voice = narrow
    context = [ContextTurn(f"Turn {n}.", tone(4, 100 + n)) for n in range(6)]  # 50 frames each, and letters
    lengths = []
    real = type(voice.model).generate

    def generate(self, input_ids=None, **more):
        lengths.append(input_ids.shape[1] + more["max_new_tokens"])
        return real(self, input_ids=input_ids, **more)

    monkeypatch.setattr(type(voice.model), "generate", generate)
    kept = voice.trim_context(context, WORDS, 40)
    generate_with_retries(voice, WORDS, context, max_duration_s=3.2, sampling=Sampling(), seed=0)

    assert kept[0] is context[0] and 1 < len(kept) < 6
    assert kept[1:] == context[-len(kept) + 1 :]
    assert lengths and max(lengths) <= voice.max_positions == 256


def test_a_voice_that_is_too_long_is_refused(narrow):
    with pytest.raises(InputError, match="shorter recording"):
        narrow.trim_context([ContextTurn("Long.", tone(20))], WORDS, 40)


@pytest.mark.parametrize(
    ("text", "longest_s", "seconds"), [("Hi.", 10, 1.4), ("x" * 60, 10, 9), ("x" * 500, 10, 10)]
)
def test_the_budget_follows_the_text_up_to_the_limit(text, longest_s, seconds):
    assert frame_limit(text, longest_s) * FRAME_S == pytest.approx(seconds, abs=0.2)


@pytest.mark.parametrize("longest_s", [1, 5, 10, 30])
def test_pieces_are_said_within_the_limit_at_an_unhurried_pace(longest_s):
    letters = max_text_chars(longest_s)

    assert letters >= 20
    assert frame_limit("x" * letters, longest_s) * FRAME_S <= max(longest_s, 1.2)
    assert letters / 15 <= max(longest_s, 1.4)


def test_files_that_are_missing_or_no_model_are_told(tiny_csm, tmp_path):
    import shutil

    folder = tmp_path / "models"
    shutil.copytree(tiny_csm / "csm-1b", folder / "csm-1b")
    here = RuntimeConfig(LocalModels(folder, tmp_path / "ledger.json"), device="cpu")
    part = folder / "csm-1b" / "transformers-00002-of-00002.safetensors"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(WeightsInvalid, match="weights verify csm-1b"):
        load_csm(here)
    part.unlink()
    with pytest.raises(ModelNotInstalled, match="musetalk weights pull csm"):
        load_csm(here)
