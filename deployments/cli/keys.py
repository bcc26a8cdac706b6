"""The `musetalk keys` commands: create, list and revoke API keys with tenant, scopes and expiry date."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from deployments.cli.errors import read_settings, user_errors
from deployments.console import output_console

app = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)

Scope = Literal["submit", "read", "cancel", "admin"]
_DEFAULT_SCOPES = ("submit", "read", "cancel")

NameArgument = Annotated[str, typer.Argument(help="Unique name of the key.")]


def _keys_path() -> Path:
    settings = read_settings()
    return settings.api.keys_file or settings.home / "keys.json"


@app.command()
def create(
    name: NameArgument,
    tenant: Annotated[
        str | None, typer.Option(help="Tenant of the key; default: access to the jobs of all tenants.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(get_args(Scope))}; repeatable. No route requires admin yet."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Days until the key expires; default: never.")
    ] = None,
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
    typer.echo(secret_key)
    if read_settings().api.keys_file is None:
        output_console().print(
            f"Set MUSETALK_API__KEYS_FILE={path} to make the API require a key.", markup=False
        )


@app.command("list")
def list_() -> None:
    """List the API keys with their tenant, scopes and expiry date."""
    from api.auth.key_file import read_keys

    with user_errors():
        keys = read_keys(_keys_path())
    for key in keys:
        expiry = key.expires.strftime("%Y-%m-%d") if key.expires else "never"
        state = " (expired)" if key.is_expired else ""
        scopes = ",".join(sorted(key.scopes))
        output_console().print(
            f"{key.name}  tenant {key.tenant or '-'}  {scopes}  expires {expiry}{state}", markup=False
        )


@app.command()
def revoke(name: NameArgument) -> None:
    """Delete a key from the key file. The API rejects it from then on."""
    from api.auth.key_file import KeyFileError, read_keys, write_keys

    with user_errors():
        path = _keys_path()
        keys = read_keys(path)
        remaining_keys = [key for key in keys if key.name != name]
        if len(remaining_keys) == len(keys):
            raise KeyFileError(f"There is no key named {name}.")
        write_keys(path, remaining_keys)
