"""Schema of cron schedules, and the policies for missed times (catch-up). Pure pydantic."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

CatchUp = Literal["skip", "latest", "all"]


def _check_cron(text: str) -> str:
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError("expected five cron fields, for example 30 2 * * * (every day at 02:30)") from error
    return text


def _check_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("expected an IANA time zone, for example Europe/Berlin") from error
    return name


class Schedule(BaseModel):
    """A cron schedule in a time zone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: Annotated[str, AfterValidator(_check_cron)] = Field(
        title="Cron",
        description="Five cron fields: minute, hour, day, month, weekday.",
        examples=["30 2 * * *"],
    )
    timezone: Annotated[str, AfterValidator(_check_time_zone)] = Field(
        default="UTC",
        title="Time zone",
        description="IANA time zone of the cron fields.",
        examples=["Europe/Berlin"],
    )
