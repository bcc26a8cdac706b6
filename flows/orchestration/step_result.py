"""Schema of the result of one pipeline step."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class StepResult(BaseModel):
    """The result of a step's job, and the return value of the step's task."""

    model_config = ConfigDict(frozen=True)

    job: UUID
    type: str
    result: dict[str, Any]
    ran_s: float
