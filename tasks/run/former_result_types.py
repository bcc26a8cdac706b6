"""
Former module paths of classes that stored task results name.

Prefect writes the module path of a result's class into its record. A record whose path cannot be imported is
returned as a dict, so a task would be `Cached` with a result that its caller cannot use. Add a line here when
a class that a cached task returns moves or gets another name.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Final

CURRENT_PATHS: Final = {
    "flows.chains.steps.StepMade": "flows.orchestration.step_result.StepResult",
    "tasks.analysis.Sight": "tasks.steps.analyze_image.AnalysisStepResult",
    "tasks.avatar.PreparedAvatar": "tasks.steps.prepare_avatar.PreparedAvatar",
    "tasks.speech.SpeechFeatures": "tasks.steps.speech_features.SpeechFeatures",
    "tasks.voice.SpokenSentence": "tasks.steps.speak.SpokenSentence",
    "tasks.voice.SpokenText": "tasks.steps.speak.SpokenText",
}
"""Former path of a class -> its path today."""


class _FormerModule(ModuleType):
    """A module of an earlier version, with the classes of `CURRENT_PATHS` only; imports them on access."""

    def __getattr__(self, name: str) -> Any:
        path = CURRENT_PATHS.get(f"{self.__name__}.{name}")
        if path is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, _, class_name = path.rpartition(".")
        return getattr(import_module(module), class_name)


def register_former_modules() -> None:
    """Make the former paths importable, as Prefect does when it reads a record; imports nothing now."""
    for path in CURRENT_PATHS:
        name = path.rpartition(".")[0]
        sys.modules.setdefault(name, _FormerModule(name))
