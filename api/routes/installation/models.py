"""Routes for the models and engines of the installation."""

from asyncio import to_thread
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api.auth.api_keys import ADMIN, READ
from api.errors import Problem
from api.routes.installation.model_pulls import ModelPull, ModelPulls
from tasks.catalog.installed_models import (
    is_model_name,
    licence_to_accept,
    list_engines,
    list_models,
    list_transcription_engines,
)
from tasks.settings import get_settings

router = APIRouter(tags=["models"])


class ModelView(BaseModel):
    """A model of the registry."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="Name in jobs, settings and commands.")
    title: str
    licence: str = Field(description="Licence of the weights.")
    non_commercial: bool = Field(
        description="Whether the licence forbids commercial use. A download needs `accept_licence=true`."
    )
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


class TranscriptionEngineView(BaseModel):
    """An implementation of Whisper."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    installed: bool | None = Field(description="Whether it can run; null if only the workers know.")
    problem: str | None = Field(description="Why it cannot run, and the command that changes that.")
    preferred: bool | None = Field(
        description="Whether the setting for jobs with engine `auto` names it; null if only the workers know."
    )
    models: list[str] | None = Field(
        description="Installed Whisper models in its format; null if only the workers know."
    )
    converts: list[str] | None = Field(
        description="Other installed ones, which it converts once, at their first use."
    )


class ModelPullView(BaseModel):
    """The download of a model."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="Model or group.")
    state: Literal["running", "succeeded", "failed", "stopped"]
    file: str | None = Field(description="File that is being downloaded, or the last one.")
    percent: int = Field(description="How much of that file has arrived, in steps of 10 for large files.")
    detail: str = Field(description="Last lines of the output of `musetalk weights pull`, after its end.")


class ModelsView(BaseModel):
    """Models and engines."""

    models_here: bool = Field(
        description="Whether the workers use the models of this computer (`MUSETALK_API__MODELS_HERE`)."
    )
    engines: list[EngineView]
    transcription_engines: list[TranscriptionEngineView]
    models: list[ModelView]
    pull: ModelPullView | None = Field(
        description="The download that this API process runs, or its last one."
    )


@router.get("/v1/models", dependencies=[READ])
async def read_models(request: Request) -> ModelsView:
    """Return which models and engines are installed, with size, licence and installing command."""
    return await to_thread(_read, _pulls(request).current)


@router.post("/v1/models/{name}/pull", status_code=202, dependencies=[ADMIN])
async def pull_model(
    request: Request,
    name: str,
    accept_licence: Annotated[
        bool, Query(description="Accept the licence of a model whose `non_commercial` is true.")
    ] = False,
) -> ModelPullView:
    """Download a model or group, and the models that it needs; `GET /v1/models` shows the progress."""
    if not is_model_name(name):
        raise Problem("not_found", "There is no model or group of this name.")
    if not get_settings().api.models_here:
        raise Problem(
            "pull_not_offered",
            "The workers use models of other computers. Run the command of the model there.",
        )
    if not accept_licence and (licence := await to_thread(licence_to_accept, name)):
        raise Problem("licence_not_accepted", f"{licence}. Accept it with accept_licence=true.")
    return ModelPullView.model_validate(await _pulls(request).start(name, accept_licence=accept_licence))


@router.delete("/v1/models/{name}/pull", dependencies=[ADMIN])
async def stop_pull(request: Request, name: str) -> ModelPullView:
    """Stop the download of a model; a later one continues it."""
    pulls = _pulls(request)
    if pulls.current is None or pulls.current.name != name:
        raise Problem("not_found", "This API process has not started a download of this name.")
    await pulls.stop()
    return ModelPullView.model_validate(pulls.current)


def _pulls(request: Request) -> ModelPulls:
    return request.app.state.model_pulls


def _read(pull: ModelPull | None) -> ModelsView:
    here = get_settings().api.models_here
    models = [ModelView.model_validate(record) for record in list_models()]
    engines = [EngineView.model_validate(record) for record in list_engines()]
    transcription = [
        TranscriptionEngineView.model_validate(record) for record in list_transcription_engines()
    ]
    if not here:
        models = [model.model_copy(update={"state": None, "problem": None}) for model in models]
        unknown = {"installed": None, "problem": None, "default": None}
        engines = [engine.model_copy(update=unknown) for engine in engines]
        unknown = {"installed": None, "problem": None, "preferred": None, "models": None, "converts": None}
        transcription = [engine.model_copy(update=unknown) for engine in transcription]
    current = ModelPullView.model_validate(pull) if pull is not None else None
    return ModelsView(
        models_here=here,
        engines=engines,
        transcription_engines=transcription,
        models=models,
        pull=current,
    )
