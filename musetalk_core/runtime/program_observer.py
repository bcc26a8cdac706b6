"""Observer of the programs that the core starts, which the layers above may set."""

from collections.abc import Callable

EndCallback = Callable[[bool], None]
"""Called when the program has ended, with whether it succeeded."""
Observer = Callable[[str], EndCallback]
"""Called with the name of a program when it starts."""


def _observe_nothing(_: str) -> EndCallback:
    return lambda _: None


_observer: Observer = _observe_nothing


def set_program_observer(observer: Observer) -> None:
    """Set the observer of this process."""
    global _observer
    _observer = observer


def program_started(name: str) -> EndCallback:
    """Tell the observer that a program starts; the result is to be called at its end."""
    return _observer(name)
