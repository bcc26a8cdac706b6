"""Settings of rendering and encoding."""

from typing import Literal

from pydantic import Field

from tasks.settings.field_types import SettingsGroup


class RenderSettings(SettingsGroup, frozen=True):
    """Rendering and encoding of videos."""

    engine: Literal["auto", "musetalk", "viseme", "fake"] = Field(
        default="auto",
        description="Engine of jobs with engine `auto`. auto: musetalk if it is installed, else viseme.",
    )
    chunk_seconds: float = Field(
        default=10.0,
        gt=0,
        le=120,
        description="Length of a chunk: the unit of caching, retries and memory use.",
    )
    preview: bool = Field(
        default=True,
        description="Show a contact sheet, a lip-sync score and timings in Prefect's pages. Takes up to 3 s"
        " after the result.",
    )
    preview_every_s: float = Field(
        default=2.0,
        ge=0,
        description="Minimum time in seconds between two preview frames of a running job, small pictures that"
        " clients may show meanwhile. 0: none.",
    )
    quality: Literal["off", "card"] = Field(
        default="off", description="Quality card of videos of jobs that do not set quality; 1 to 3 s of CPU."
    )
    threads: int = Field(
        default=0, ge=0, description="Threads that render a chunk. 0: half of the cores, 1 to 4."
    )
