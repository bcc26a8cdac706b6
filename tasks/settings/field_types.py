"""Field types of settings: lists, folders, URLs, rates and secrets, parsed from text."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr
from pydantic_settings import NoDecode

from tasks.webhooks.signature import decode_secret

GB = 10**9


class SettingsGroup(BaseModel, frozen=True):
    """Base class of all groups of settings."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


def _split_list(value: object) -> object:
    """Parse a list from one variable, written as `a,b` or as `["a", "b"]`."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


Folder = Annotated[Path, AfterValidator(_absolute)]
Strings = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)]
Folders = Annotated[tuple[Folder, ...], NoDecode, BeforeValidator(_split_list)]
Integers = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_split_list)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_list)]


def _path_style(value: object) -> object:
    """Accept the spelling of a switch, which this setting was before."""
    word = str(value).strip().lower()
    return {"true": "path", "1": "path", "false": "virtual", "0": "virtual"}.get(word, word)


PathStyle = Annotated[Literal["auto", "path", "virtual"], BeforeValidator(_path_style)]


def _check_base_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return url.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_check_base_url)]


_ORIGIN = re.compile(r"https?://(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{origin[:80]!r} is not an origin as browsers write it: https://host or https://host:port,"
                " in lowercase, without a path; * is not allowed"
            )
    return origins


Origins = Annotated[Strings, AfterValidator(_check_origins)]


_RATE = re.compile(r"[1-9]\d{0,5}/([1-9]\d{0,3} ?)?(second|minute|hour|day)s?")


def _check_rates(rates: str) -> str:
    for rate in rates.split(";") if rates else ():
        if not _RATE.fullmatch(rate.strip()):
            raise ValueError("must be a number, a slash and second, minute, hour or day, such as 60/minute")
    return rates


Rates = Annotated[str, AfterValidator(_check_rates)]


def _check_secrets(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in secrets:
        decode_secret(secret.get_secret_value())
    return secrets


def _check_lengths(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(len(secret.get_secret_value()) < _MIN_SECRET_CHARS for secret in secrets):
        raise ValueError(f"each secret needs at least {_MIN_SECRET_CHARS} characters")
    return secrets


_MIN_SECRET_CHARS = 32
LinkSecrets = Annotated[Secrets, AfterValidator(_check_lengths)]

SigningSecrets = Annotated[Secrets, AfterValidator(_check_secrets)]
