"""
Whisper at full size with random weights, with this project's loading and decoding.

Random weights never emit the end token, so every attempt takes all 224 tokens; 30 s of speech have about 100.
"""

import time

import gpu_networks
import torch
from media import SPEECH
from whisper.model import ModelDimensions, Whisper
from whisper.timing import add_word_timestamps

from musetalk_core.formats.pcm import PcmFile
from musetalk_core.media.audio.decode import decode_speech
from musetalk_core.runtime.device import choose_device
from musetalk_core.transcription.decoding import DecodeOptions, Decoder
from musetalk_core.transcription.spectrogram import Spectrogram
from musetalk_core.transcription.whisper_model import load_whisper_model

SIZES = {
    "tiny": (80, 1500, 384, 6, 4, 51865, 448, 384, 6, 4),
    "medium": (80, 1500, 1024, 16, 24, 51865, 448, 1024, 16, 24),
    "large-v3": (128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 32),
}


def write(path, size, device):
    torch.manual_seed(0)
    with torch.device(device):
        net = Whisper(ModelDimensions(*SIZES[size]))
    net.decoder.positional_embedding.data.normal_(std=0.01)
    net.decoder.token_embedding.weight.data.mul_(0.02)
    tensors = {key: value.half() for key, value in net.state_dict().items()}
    torch.save({"dims": vars(net.dims), "model_state_dict": tensors}, path)


def measure(device, folder):
    sizes = ("tiny",) if device == "cpu" else ("medium", "large-v3")
    return {size: _measure_size(device, folder, size) for size in sizes}


def _measure_size(device, folder, size):
    path, speech = folder / f"{size}.pt", folder / "speech.f32"
    write(path, size, device)
    decode_speech(SPEECH, speech)
    if device == "cuda":
        torch.cuda.empty_cache()
    before, began = _allocated_bytes(device), time.perf_counter()
    loaded = load_whisper_model(path, size, choose_device(device))
    made = {"load_s": time.perf_counter() - began, "half": loaded.uses_fp16}
    spectrogram = Spectrogram(PcmFile(speech), loaded.net.dims.n_mels)
    window = loaded.prepare(spectrogram.window(0, min(3000, spectrogram.frames)))
    for name in ("as loaded", "as the library has it")[: 1 if device == "cpu" else 2]:
        if name != "as loaded":
            loaded.net.float()
        made[name] = {
            "weights_mb": (_allocated_bytes(device) - before) / 1e6,
            **_measure_window(device, loaded, window),
        }
        made[name]["peak_mb"] -= before / 1e6
        print("hearing", size, name, made[name], flush=True)
    return made


@torch.inference_mode()
def _measure_window(device, loaded, window):
    decoder, made = Decoder(loaded, "en", DecodeOptions()), {}
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    made["very_first_try_s"] = _run_timed(device, lambda: decoder._decode_at(window, [], 0.0, 224))[1]
    made["encoder_ms"] = 1000 * gpu_networks.seconds_per_call(
        lambda: loaded.net.embed_audio(window[None]), device
    )
    result, made["first_try_s"] = _run_timed(device, lambda: decoder._decode_at(window, [], 0.0, 224))
    made["tokens"], made["numbers"] = len(result.tokens), [result.avg_logprob, result.no_speech_prob]
    if device == "cuda":
        made["later_try_s"] = _run_timed(device, lambda: decoder._decode_at(window, [], 0.2, 224))[1]
    line = {"seek": 0, "start": 0.0, "end": 30.0, "tokens": result.tokens}

    def add_words():
        segments = [dict(line)]
        add_word_timestamps(
            segments=segments,
            model=loaded.net,
            tokenizer=decoder.tokenizer,
            mel=window,
            num_frames=3000,
            last_speech_timestamp=0.0,
        )
        return segments

    add_words()
    made["words_s"] = _run_timed(device, add_words)[1]
    made["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else 0
    return made


def _run_timed(device, work):
    gpu_networks.synchronize(device)
    began = time.perf_counter()
    made = work()
    gpu_networks.synchronize(device)
    return made, round(time.perf_counter() - began, 3)


def _allocated_bytes(device):
    gpu_networks.synchronize(device)
    return torch.cuda.memory_allocated() if device == "cuda" else 0
