"""From the words of an analyze job to the models that its steps use."""

from importlib.util import find_spec

from flows.analyze_schemas import AnalyzeJob
from musetalk_core.analysis.choosing import READER, Cast, cast_for
from tasks.weights import layout


def cast_of(job: AnalyzeJob) -> Cast:
    """
    Decide who does what; `auto` is settled here, once.

    Raises:
        ModelNotInstalled: the model that it names has no weights here.
    """
    here = layout()
    if job.model not in ("auto", "starter"):
        here.find(job.model)
    can_run = find_spec("torch") is not None and find_spec("transformers") is not None
    usable = [name for name in here.installed() if can_run or name == READER]
    return cast_for(job.model, job.features, job.question is not None, usable)
