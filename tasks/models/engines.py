"""Rendering engines of this process: selection, pinned weights, and instances that are built once."""

from dataclasses import asdict
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, Field

from musetalk_core.engine_protocol import Engine, Stage
from musetalk_core.engine_registry import EngineName, load_engine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
from musetalk_core.model_registry.pins import PinnedModel
from musetalk_core.runtime.config import RuntimeConfig
from tasks.models.install import open_local_models, pin
from tasks.settings import get_settings


class EngineSpec(BaseModel, frozen=True):
    """A fully resolved engine: name, options and pinned weights. Passed between tasks."""

    name: EngineName
    options: MuseTalkEngineOptions = MuseTalkEngineOptions()
    weights: tuple[PinnedModel, ...] = Field(default=(), exclude=True)
    """The pinned models, see `pin_engine`; the cache keys of the engine's outputs contain parts of it."""


def engine_spec(name: EngineName, options: MuseTalkEngineOptions) -> EngineSpec:
    """Return the spec of an engine; `options` are those of MuseTalk, other engines have none."""
    return EngineSpec(name=name, options=options if name == "musetalk" else MuseTalkEngineOptions())


def pin_engine(spec: EngineSpec) -> EngineSpec:
    """
    Pin the current weights of an engine for the rest of the job.

    Raises:
        ModelNotInstalled, WeightsInvalid: see `LocalModels.pin`.
    """
    models = load_engine(spec.name, spec.options, runtime_config()).models
    return spec.model_copy(update={"weights": pin(*models)})


def get_engine(spec: EngineSpec) -> Engine:
    """Return an engine, which is built once per process and set of weights."""
    return build_engine(spec if spec.weights else pin_engine(spec))


@lru_cache(maxsize=8)
def build_engine(spec: EngineSpec) -> Engine:
    """Build an engine. Limits OpenCV to one thread, because the tasks render in threads of their own."""
    import cv2

    cv2.setNumThreads(1)
    return load_engine(spec.name, spec.options, runtime_config(), spec.weights)


def describe_engine(spec: EngineSpec) -> dict[str, Any]:
    """Return everything that decides an engine's output: versions, weights and options, by stage."""
    loaded = get_engine(spec)
    stages = {stage: dict(loaded.cache_fingerprint(stage)) for stage in get_args(Stage)}
    return {"name": spec.name, "options": asdict(spec.options) if spec.name == "musetalk" else {}} | stages


def runtime_config() -> RuntimeConfig:
    """Return the core's runtime configuration of this machine, from the settings."""
    models = get_settings().models
    return RuntimeConfig(
        local_models=open_local_models(),
        device=models.device,
        precision=models.precision,
        memory_bytes=models.memory_bytes,
        idle_s=models.idle_s,
        landmarks=models.landmarks,
        batch=models.batch,
        channels_last=models.channels_last,
        compile=models.compile,
    )
