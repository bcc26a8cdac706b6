"""Prefect options that all job flows share."""

from typing import TypedDict


class _FlowOptions(TypedDict):
    persist_result: bool
    result_serializer: str
    validate_parameters: bool
    log_prints: bool


FLOW_OPTIONS: _FlowOptions = {
    "persist_result": False,
    "result_serializer": "json",
    "validate_parameters": True,
    "log_prints": False,
}
"""
Options of every flow decorator.

A flow does not store its return value: its result is the `result` artifact. Only task results are stored.
"""
