"""Model selection for the analyze job: which installed model does which part of the analysis."""

from importlib.util import find_spec

from flows.analyze_schemas import AnalyzeJob
from musetalk_core.analysis.choosing import READER, Cast, cast_for
from tasks.weights import layout


def cast_of(job: AnalyzeJob) -> Cast:
    """
    Choose the model for each part of the analysis. `auto` is resolved here and nowhere else.

    Raises:
        ModelNotInstalled: the weights of the requested model are not installed.
    """
    here = layout()
    if job.model not in ("auto", "starter"):
        here.find(job.model)
    can_run = find_spec("torch") is not None and find_spec("transformers") is not None
    usable = [name for name in here.installed() if can_run or name == READER]
    return cast_for(job.model, job.features, job.question is not None, usable)
