"""Get an engine by its name; apart from the protocol, so that engines do not import each other through it."""

from collections.abc import Sequence
from typing import Literal, assert_never

from musetalk_core.engine import Engine
from musetalk_core.engines.musetalk.options import Options
from musetalk_core.errors import InputError
from musetalk_core.machine import Machine
from musetalk_core.weights.pins import PinnedModel

EngineName = Literal["musetalk", "viseme", "fake"]

_DEFAULT = Options()


def load_engine(
    name: EngineName,
    options: Options = _DEFAULT,
    machine: Machine | None = None,
    pinned: Sequence[PinnedModel] = (),
) -> Engine:
    """
    Build one engine. Imports are local so that a process pays only for the one it runs.

    Args:
        name:    which.
        options: of `musetalk`.
        machine: where its weights are; the other engines need none.
        pinned:  the content of its weights; of models that it lacks, what is there at first use.

    Raises:
        ModelNotInstalled: weights are missing.
        InputError: options that do not go together.
    """
    match name:
        case "musetalk":
            from musetalk_core.engines.musetalk.engine import MuseTalkEngine

            if machine is None:
                raise InputError("the engine musetalk needs to know where its weights are")
            return MuseTalkEngine(options, machine, pinned)
        case "viseme":
            from musetalk_core.engines.viseme.engine import VisemeEngine

            return VisemeEngine()
        case "fake":
            from musetalk_core.engines.fake import FakeEngine

            return FakeEngine()
        case _:
            assert_never(name)
