"""
Tables of docs/performance.md, from the figures in docs/performance.json: `performance_page.py [--write]`.

`./run bench --json docs/performance.json NAME` measures the figures of a benchmark again.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from page import fill

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, FIGURES = DOCS / "performance.md", DOCS / "performance.json"


@dataclass(frozen=True)
class Table:
    """A table of the page: its columns, and its rows by the figures of its benchmarks."""

    head: tuple[str, ...]
    rows: Callable[..., list[tuple[str, ...]]]
    """Takes the figures of each benchmark, in order; returns the cells of each row."""
    benchmarks: tuple[str, ...]
    versions: tuple[str, ...]
    """Packages and programs whose versions are named below the table."""


def seconds(value):
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def milliseconds(value):
    return f"{value:.0f} ms"


def megabytes(value):
    return f"{value:.0f} MB"


def times(slow, fast):
    """Return a ratio with two or three digits."""
    return f"{slow / fast:.2f}" if slow < 2 * fast else f"{slow / fast:.1f}"


def warm_starts(warm, repeat):
    stock, quick, own = warm.empty_stock_s, warm.empty_quick_s, warm.empty_warm_s
    return [
        ("empty flow, Prefect's process worker with default settings", seconds(stock), "1"),
        ("empty flow, process worker polling every 0.5 s", seconds(quick), times(stock, quick)),
        ("empty flow, warm worker", seconds(own), times(stock, own)),
        (
            "torch and a 500 MB model, process worker polling every 0.5 s",
            seconds(warm.model_quick_s),
            "1",
        ),
        ("the same, warm worker", seconds(warm.model_warm_s), times(warm.model_quick_s, warm.model_warm_s)),
        (
            "the same lip-sync job again, everything cached",
            f"first {seconds(repeat.first_s)}, then {repeat.fastest_s:.2f} to {seconds(repeat.slowest_s)}",
            f"{repeat.first_s / repeat.slowest_s:.0f} to {repeat.first_s / repeat.fastest_s:.0f}",
        ),
    ]


def rendering(pipeline, gpu, speed, preparation, real_size):
    def row(what, compared, here, show=seconds):
        return what, show(compared), show(here), times(compared, here)

    return [
        row(
            "MuseTalk pipeline at 1080p around stub networks, per frame, against the published program's way",
            pipeline.plain_frame_ms,
            pipeline.frame_ms,
            milliseconds,
        ),
        row("its peak memory", pipeline.plain_mb, pipeline.peak_mb, megabytes),
        row(
            "UNet and decoder on an H200, per frame: diffusers at batch 8, ours at batch 32",
            gpu.plain_frame_ms,
            gpu.frame_ms,
            lambda value: f"{value:.1f} ms",
        ),
        ("MuseTalk rendering of a prepared 720p job on an H200", "", f"{gpu.render_per_s:.0f} frames/s", ""),
        row(
            "`viseme` job of 60 s of 720p25, prepared, against an ffmpeg transcode, preset `medium`",
            speed.medium_ffmpeg_s,
            speed.medium_job_s,
        ),
        row("the same, preset `fast`", speed.fast_ffmpeg_s, speed.fast_job_s),
        row(
            "CPU time of preparing 20 s of 1080p, all of it or for 2 s of sound; stand-in networks",
            preparation.sound_20_cpu_s,
            preparation.sound_2_cpu_s,
        ),
        row(
            "UNet and decoder of the real size on two CPU cores, fp32, per frame, against diffusers",
            real_size.plain_frame_s,
            real_size.lean_frame_s,
        ),
    ]


def memory(memory, one_hour, transcribe_memory):
    def row(what, short, long):
        return what, megabytes(short), megabytes(long), megabytes(long - short)

    found = vars(transcribe_memory)
    engines = {"openai_whisper": "`openai-whisper`", "ctranslate2": "`ctranslate2`"}
    measured = [name for name in engines if f"{name}_1_min_mb" in found]
    return [
        row("30 s and 5 min of 720p, `viseme`", memory.short_mb, memory.long_mb),
        row("1 min and 1 h of 360p", one_hour.minute_mb, one_hour.hour_mb),
        *(
            row(f"1 and 10 min of sound, {engines[name]}", *(found[f"{name}_{n}_min_mb"] for n in (1, 10)))
            for name in measured
        ),
    ]


def interface(status, load):
    return [
        (what, f"{found.prefect_reads_per_s:.0f}", f"{found.reads_per_s:,.0f}", f"{found.ratio:.1f}")
        for what, found in (
            ("status reads per second, 20 running jobs, 8 readers", status),
            ("the same while 200 jobs run on the same two cores", load),
        )
    ]


def latency(status, load):
    return [
        (what, f"{found.p50_ms:.1f} ms", f"{found.p99_ms:.1f} ms", f"{found.submissions_per_s:.0f}")
        for what, found in (
            ("20 jobs that are reported as running", status),
            ("200 jobs that run on the same two cores", load),
        )
    ]


def transcription(transcribe):
    found, rows = vars(transcribe), []
    for length in sorted(int(name.split("_")[1]) for name in found if name.startswith("ratio_")):
        command, job = found[f"command_{length}_s"], found[f"job_{length}_s"]
        rows.append((f"{length} s", seconds(command), seconds(job), times(command, job)))
    return rows


def engines(engines):
    found, rows = vars(engines), []
    for length in sorted({int(name.split("_")[-3]) for name in found}):
        command, peer, reference, own = (
            found[f"{name}_{length}_cpu_s"]
            for name in ("whisper_command", "faster_whisper", "openai_whisper", "ctranslate2")
        )
        cells = (seconds(command), seconds(peer), seconds(reference), seconds(own))
        rows.append((f"{length} s", *cells, times(command, own), f"{peer / own:.2f}"))
    return rows


def idle(idle):
    return [
        ("until ready, new home folder", f"{idle.start_new_cpu_s:.0f} s of CPU time"),
        ("until ready, existing home folder", f"{idle.start_again_cpu_s:.0f} s of CPU time"),
        ("idle", f"{idle.idle_percent:.1f} % of a core"),
    ]


TABLES = {
    "warm starts": Table(
        ("From creation to end of a run, median", "Time", "Times as fast"),
        warm_starts,
        ("warm", "repeat"),
        ("prefect", "torch"),
    ),
    "rendering": Table(
        ("What", "Compared with", "Here", "Compared / here"),
        rendering,
        ("pipeline", "gpu", "speed", "preparation", "real_size"),
        ("torch", "diffusers", "ffmpeg"),
    ),
    "memory": Table(
        ("Peak memory", "Short", "Long", "Difference"),
        memory,
        ("memory", "one_hour", "transcribe_memory"),
        ("torch", "openai-whisper", "ctranslate2"),
    ),
    "api": Table(
        ("What", "Prefect's API", "This API", "Ratio"), interface, ("status", "load"), ("prefect", "fastapi")
    ),
    "latency": Table(
        ("300 status reads per second", "Median", "99th percentile", "Submissions per second"),
        latency,
        ("status", "load"),
        (),
    ),
    "transcription": Table(
        ("Sound", "`whisper` command", "Here", "Times as fast"),
        transcription,
        ("transcribe",),
        ("openai-whisper", "torch"),
    ),
    "transcription engines": Table(
        (
            "Sound",
            "`whisper` command",
            "faster-whisper",
            "`openai-whisper` here",
            "`ctranslate2` here",
            "Command / `ctranslate2`",
            "faster-whisper / `ctranslate2`",
        ),
        engines,
        ("transcribe_engines",),
        ("openai-whisper", "faster-whisper", "ctranslate2"),
    ),
    "idle": Table(("`musetalk up`", "Used"), idle, ("idle",), ("prefect",)),
}


def sections(known):
    """Return the tables of the page by name, made from the content of the file of figures."""
    return {name: "\n".join(lines(table, known["benchmarks"])) for name, table in TABLES.items()}


def lines(table, measured):
    """Return the lines of a table, and those that say how it was measured."""
    found = [SimpleNamespace(**measured[name]["figures"]) for name in table.benchmarks]
    rows = [table.head, ("---",) * len(table.head), *table.rows(*found)]
    notes = [note(name, measured[name]) for name in table.benchmarks]
    newest = {}
    for name in table.benchmarks:
        versions = measured[name].get("versions", {})
        newest |= {one: versions[one] for one in table.versions if one in versions}
    if newest:
        notes.append("Versions: " + ", ".join(f"{name} {release}" for name, release in newest.items()) + ".")
    return [*(f"| {' | '.join(cells)} |" for cells in rows), "", "<br>\n".join(notes)]


def note(name, entry):
    """Return how to repeat a benchmark, when and on what it was measured."""
    machine = entry["machine"]
    load = f", load {machine['load']}" if machine.get("load") is not None else ""
    source = f" ([log]({entry['source']}))" if "source" in entry else ""
    where = f"{machine['processor']}, {machine['cores']} cores{load}{source}"
    return f"`./run bench {name}`: {entry['measured']}, {where}."


def main():
    """Print the tables; with `--write`, write them into the page."""
    parts = sections(json.loads(FIGURES.read_text()))
    print("\n\n".join(parts.values()))
    if "--write" in sys.argv:
        PAGE.write_text(fill(PAGE.read_text(), parts))


if __name__ == "__main__":
    main()
