"""Route for the models and engines of the installation."""

from asyncio import to_thread
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.auth.api_keys import READ
from tasks.catalog.installed_models import list_engines, list_models
from tasks.settings import get_settings

router = APIRouter(tags=["models"])


class ModelView(BaseModel):
    """A model of the registry."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="Name in jobs, settings and commands.")
    title: str
    licence: str = Field(description="Licence of the weights.")
    homepage: str = Field(description="Repository or project, without a host.")
    state: Literal["installed", "partial", "missing", "damaged"] | None = Field(
        description="State of its files; null if the workers use models of other computers."
    )
    problem: str | None = Field(description="What is wrong with its files.")
    bytes: int = Field(description="Size of its files; an estimate for missing ones.")
    needs: list[str] = Field(description="Models that are installed with it.")
    groups: list[str] = Field(description="Names that stand for it in `musetalk weights pull`.")
    bundled: bool = Field(description="Whether it is part of the installation: nothing to download.")
    command: str = Field(description="Command that installs it, on the computer of the workers.")


class EngineView(BaseModel):
    """A rendering engine."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    installed: bool | None = Field(description="Whether it can run; null if only the workers know.")
    problem: str | None = Field(description="Why it cannot run, and the command that changes that.")
    default: bool | None = Field(description="Whether jobs with engine `auto` use it.")


class ModelsView(BaseModel):
    """Models and rendering engines."""

    models_here: bool = Field(
        description="Whether the workers use the models of this computer (`MUSETALK_API__MODELS_HERE`)."
    )
    engines: list[EngineView]
    models: list[ModelView]


@router.get("/v1/models", dependencies=[READ])
async def read_models() -> ModelsView:
    """Return which models and engines are installed, with size, licence and installing command."""
    return await to_thread(_read)


def _read() -> ModelsView:
    here = get_settings().api.models_here
    models = [ModelView.model_validate(record) for record in list_models()]
    engines = [EngineView.model_validate(record) for record in list_engines()]
    if not here:
        models = [model.model_copy(update={"state": None, "problem": None}) for model in models]
        unknown = {"installed": None, "problem": None, "default": None}
        engines = [engine.model_copy(update=unknown) for engine in engines]
    return ModelsView(models_here=here, engines=engines, models=models)
