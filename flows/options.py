"""Prefect options that all job flows share."""

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
"""
Options of every flow decorator. The result of a job is its `result` artifact; Prefect stores task results only.
"""
