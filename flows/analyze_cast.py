"""Model selection for the analyze job: which installed model does which part of the analysis."""

from importlib.util import find_spec

from flows.analyze_schemas import AnalyzeJob
from musetalk_core.analysis.choosing import READER, ModelAssignment, assign_models
from tasks.weights import open_local_models


def select_analysis_models(job: AnalyzeJob) -> ModelAssignment:
    """
    Choose the model for each part of the analysis. `auto` is resolved here and nowhere else.

    Raises:
        ModelNotInstalled: the weights of the requested model are not installed.
    """
    local_models = open_local_models()
    if job.model not in ("auto", "starter"):
        local_models.find(job.model)
    can_run = find_spec("torch") is not None and find_spec("transformers") is not None
    usable = [name for name in local_models.installed_models() if can_run or name == READER]
    return assign_models(job.model, job.features, job.question is not None, usable)
