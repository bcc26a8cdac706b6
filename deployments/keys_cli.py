"""`musetalk keys`: keys of the API, each with its tenant, its scopes and its end."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from deployments.plain import plain_errors, read_settings
from deployments.show import console

app = typer.Typer(help="Keys of the API: create, list, revoke.", no_args_is_help=True)

Scope = Literal["submit", "read", "cancel", "admin"]
_USUAL = ("submit", "read", "cancel")

NameArgument = Annotated[str, typer.Argument(help="What to call it; one name, one key.")]


def _file() -> Path:
    settings = read_settings()
    return settings.api.keys_file or settings.home / "keys.json"


@app.command()
def create(
    name: NameArgument,
    tenant: Annotated[
        str | None, typer.Option(help="Whose jobs it makes and sees; without: everybody's.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"May be repeated: {', '.join(get_args(Scope))}; admin opens no route yet."),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Until it expires; without: never.")] = None,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from api.key_file import Key, KeyFileError, digest, new_key, read_keys, write_keys

    with plain_errors():
        path, made = _file(), new_key()
        known = read_keys(path) if path.exists() else ()
        if any(key.name == name for key in known):
            raise KeyFileError(f"There is a key named {name} already.")
        key = Key.model_validate(
            {
                "name": name,
                "sha256": digest(made),
                "tenant": tenant,
                "scopes": scope or _USUAL,
                "expires": datetime.now(UTC) + timedelta(days=days) if days else None,
            }
        )
        write_keys(path, (*known, key))
    typer.echo(made)
    if read_settings().api.keys_file is None:
        console().print(f"Set MUSETALK_API__KEYS_FILE={path} for the API to ask for it.", markup=False)


@app.command("list")
def list_() -> None:
    """Show the keys that there are."""
    from api.key_file import read_keys

    with plain_errors():
        keys = read_keys(_file())
    for key in keys:
        end = key.expires.strftime("%Y-%m-%d") if key.expires else "never"
        state = " (expired)" if key.is_expired else ""
        scopes = ",".join(sorted(key.scopes))
        console().print(f"{key.name}  tenant {key.tenant or '-'}  {scopes}  ends {end}{state}", markup=False)


@app.command()
def revoke(name: NameArgument) -> None:
    """Take a key out of the file; the API refuses it from now on."""
    from api.key_file import KeyFileError, read_keys, write_keys

    with plain_errors():
        path = _file()
        keys = read_keys(path)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise KeyFileError(f"There is no key named {name}.")
        write_keys(path, left)
