"""
Engine registry: create an engine by name.

It is separate from the engine protocol, so that engines do not import each other through the protocol.
"""

from collections.abc import Sequence
from typing import Literal, assert_never

from musetalk_core.engine_protocol import Engine
from musetalk_core.engines.musetalk.options import MuseTalkEngineOptions
from musetalk_core.errors import InputError
from musetalk_core.model_registry.pins import PinnedModel
from musetalk_core.runtime.config import RuntimeConfig

EngineName = Literal["musetalk", "viseme", "fake"]

_DEFAULT_OPTIONS = MuseTalkEngineOptions()


def load_engine(
    name: EngineName,
    options: MuseTalkEngineOptions = _DEFAULT_OPTIONS,
    runtime: RuntimeConfig | None = None,
    pinned: Sequence[PinnedModel] = (),
) -> Engine:
    """
    Create an engine. Imports are local, so that a process imports only the engine it runs.

    Args:
        name:    name of the engine.
        options: options of `musetalk`; other engines ignore them.
        runtime: models folder, device and precision. Required by `musetalk`; other engines need none.
        pinned:  pinned content of the engine's models. A model that is not pinned uses the files that are
            installed when it is first loaded.

    Raises:
        ModelNotInstalled: weights are missing.
        InputError: the options contradict each other, or `musetalk` is requested without `runtime`.
    """
    match name:
        case "musetalk":
            from musetalk_core.engines.musetalk.engine import MuseTalkEngine

            if runtime is None:
                raise InputError("the engine musetalk requires a runtime configuration (models folder)")
            return MuseTalkEngine(options, runtime, pinned)
        case "viseme":
            from musetalk_core.engines.viseme.engine import VisemeEngine

            return VisemeEngine()
        case "fake":
            from musetalk_core.engines.constant_engine import FakeEngine

            return FakeEngine()
        case _:
            assert_never(name)
