"""Get an engine by its name; apart from the protocol, so that engines do not import each other through it."""

from typing import Literal, assert_never

from musetalk_core.engine import Engine

EngineName = Literal["viseme", "fake"]


def load_engine(name: EngineName) -> Engine:
    """Build one engine. Imports are local so that a process pays only for the one it runs."""
    match name:
        case "viseme":
            from musetalk_core.engines.viseme.engine import VisemeEngine

            return VisemeEngine()
        case "fake":
            from musetalk_core.engines.fake import FakeEngine

            return FakeEngine()
        case _:
            assert_never(name)
