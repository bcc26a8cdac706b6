"""What every job flow has in common."""

from typing import TypedDict


class _Flow(TypedDict):
    persist_result: bool
    result_serializer: str
    validate_parameters: bool
    log_prints: bool


JOB: _Flow = {
    "persist_result": False,
    "result_serializer": "json",
    "validate_parameters": True,
    "log_prints": False,
}
"""A flow's own result is its `result` artifact; only its tasks' results are stored."""
