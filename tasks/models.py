"""Rendering engines of this process: selection, pinned weights, and instances that are built once."""

from dataclasses import asdict
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field

from musetalk_core.engine import Engine, Stage
from musetalk_core.engines.musetalk.options import PRESETS, Options
from musetalk_core.loader import EngineName, load_engine
from musetalk_core.machine import Machine
from musetalk_core.weights.pins import PinnedModel
from tasks.settings import get_settings
from tasks.weights import layout, pin


class EngineSpec(BaseModel, frozen=True):
    """A fully resolved engine: name, options and pinned weights. Passed between tasks."""

    name: EngineName
    options: Options = Options()
    weights: tuple[PinnedModel, ...] = Field(default=(), exclude=True)
    """The pinned models, see `pin_engine`; the cache keys of the engine's outputs contain parts of it."""


def chosen(asked: Literal["auto"] | EngineName, options: Options) -> EngineSpec:
    """
    Choose the engine of a job.

    Args:
        requested: the engine that the job names; `auto` is the engine of the settings, or else the best
            installed one.
        options:   options of MuseTalk; other engines have none.
    """
    wanted = get_settings().render.engine if asked == "auto" else asked
    name: EngineName = _best(options) if wanted == "auto" else wanted
    return EngineSpec(name=name, options=options if name == "musetalk" else Options())


def _best(options: Options) -> EngineName:
    needed = {PRESETS[options.version].model, "sd-vae", "whisper-tiny"}
    can_run = find_spec("torch") is not None and find_spec("diffusers") is not None
    return "musetalk" if can_run and needed <= set(layout().installed()) else "viseme"


def pinned_engine(spec: EngineSpec) -> EngineSpec:
    """
    Pin the current weights of an engine for the rest of the job.

    Raises:
        ModelNotInstalled, WeightsInvalid: see `Layout.pin`.
    """
    models = load_engine(spec.name, spec.options, machine()).models
    return spec.model_copy(update={"weights": pin(*models)})


def engine(spec: EngineSpec) -> Engine:
    """Return an engine, which is built once per process and set of weights."""
    return built_engine(spec if spec.weights else pinned_engine(spec))


@lru_cache(maxsize=8)
def built_engine(spec: EngineSpec) -> Engine:
    """Build an engine. Limits OpenCV to one thread, because the tasks render in threads of their own."""
    import cv2

    cv2.setNumThreads(1)
    return load_engine(spec.name, spec.options, machine(), spec.weights)


def engine_facts(spec: EngineSpec) -> dict[str, Any]:
    """Return everything that decides an engine's output: versions, weights and options, by stage."""
    made = engine(spec)
    stages = {stage: dict(made.made_by(stage)) for stage in get_args(Stage)}
    return {"name": spec.name, "options": asdict(spec.options) if spec.name == "musetalk" else {}} | stages


def machine() -> Machine:
    """Return the core's runtime configuration of this machine, from the settings."""
    models = get_settings().models
    return Machine(
        layout=layout(),
        device=models.device,
        precision=models.precision,
        memory_bytes=models.memory_bytes,
        idle_s=models.idle_s,
        landmarks=models.landmarks,
        batch=models.batch,
        channels_last=models.channels_last,
        compile=models.compile,
    )
