"""The `musetalk keys` commands: create, list and revoke API keys with tenant, scopes and expiry date."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from deployments.cli.errors import UsageError, program, read_settings, user_errors
from deployments.cli.lazy_group import CommandGroup
from deployments.cli.options import JsonOption, print_json
from deployments.console import output_console

if TYPE_CHECKING:
    from api.auth.key_file import ApiKey

app = typer.Typer(cls=CommandGroup, help="API keys: create, list, revoke.", no_args_is_help=True)

Scope = Literal["submit", "read", "cancel", "admin"]
_DEFAULT_SCOPES = ("submit", "read", "cancel")

NameArgument = Annotated[str, typer.Argument(help="Unique name of the key.")]


def _keys_path() -> Path:
    settings = read_settings()
    return settings.api.keys_file or settings.home / "keys.json"


def _existing_keys() -> "Sequence[ApiKey]":
    """Return the keys of the key file; empty if there is none yet."""
    from api.auth.key_file import read_keys

    path = _keys_path()
    return read_keys(path) if path.exists() else ()


def _row(key: "ApiKey") -> dict[str, Any]:
    return {
        "name": key.name,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "expires": key.expires.isoformat() if key.expires else None,
        "expired": key.is_expired,
    }


@app.command()
def create(
    name: NameArgument,
    tenant: Annotated[
        str | None, typer.Option(help="Tenant of the key; default: access to the jobs of all tenants.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(get_args(Scope))}; repeatable. admin: installing models."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Days until the key expires; default: never.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create an API key and print it once. Only its hash is stored."""
    from api.auth.key_file import ApiKey, KeyFileError, generate_key, hash_key, read_keys, write_keys

    with user_errors():
        path, secret_key = _keys_path(), generate_key()
        existing_keys = read_keys(path) if path.exists() else ()
        if any(key.name == name for key in existing_keys):
            raise KeyFileError(f"A key named {name} already exists.")
        key = ApiKey.model_validate(
            {
                "name": name,
                "sha256": hash_key(secret_key),
                "tenant": tenant,
                "scopes": scope or _DEFAULT_SCOPES,
                "expires": datetime.now(UTC) + timedelta(days=days) if days else None,
            }
        )
        write_keys(path, (*existing_keys, key))
    if as_json:
        print_json(_row(key) | {"key": secret_key, "file": path})
        return
    typer.echo(secret_key)
    if read_settings().api.keys_file is None:
        output_console().print(
            f"Set MUSETALK_API__KEYS_FILE={path} to make the API require a key.", markup=False
        )


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the API keys with their tenant, scopes and expiry date."""
    with user_errors():
        keys = _existing_keys()
    if as_json:
        print_json([_row(key) for key in keys])
        return
    if not keys:
        output_console().print(
            f"There are no keys. Create one with `{program()} keys create NAME`.", markup=False
        )
    for key in keys:
        expiry = key.expires.strftime("%Y-%m-%d") if key.expires else "never"
        state = " (expired)" if key.is_expired else ""
        scopes = ",".join(sorted(key.scopes))
        output_console().print(
            f"{key.name}  tenant {key.tenant or '-'}  {scopes}  expires {expiry}{state}", markup=False
        )


@app.command()
def revoke(name: NameArgument, as_json: JsonOption = False) -> None:
    """Delete a key from the key file. The API rejects it from then on."""
    from api.auth.key_file import write_keys
    from deployments.cli.suggestions import did_you_mean

    with user_errors():
        keys = _existing_keys()
        remaining_keys = [key for key in keys if key.name != name]
        if len(remaining_keys) == len(keys):
            hint = did_you_mean(name, [key.name for key in keys])
            names = (
                ", ".join(key.name for key in keys) or f"none; create one with `{program()} keys create NAME`"
            )
            raise UsageError(f"There is no key named {name}.{hint} Keys: {names}.")
        write_keys(_keys_path(), remaining_keys)
    if as_json:
        print_json({"revoked": name})
    else:
        output_console().print(f"revoked {name}", markup=False)
