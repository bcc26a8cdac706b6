"""The `musetalk provenance` commands: the keys that sign outputs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.errors import UsageError, read_settings, user_errors
from deployments.cli.lazy_group import CommandGroup
from deployments.cli.options import JsonOption, print_json
from deployments.console import output_console
from musetalk_core.installation import command

if TYPE_CHECKING:
    from tasks.settings import Settings

app = typer.Typer(
    cls=CommandGroup, help="Signed provenance (Content Credentials) of outputs.", no_args_is_help=True
)
keys = typer.Typer(cls=CommandGroup, help="Keys that sign outputs: show, make, rotate.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command()
def show(
    pem: Annotated[
        bool, typer.Option("--pem", help="Print the certificates that verification trusts, in PEM.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the certificate that signs outputs, when it expires, and where its key is."""
    from tasks.content_credentials.signing_keys import trust_anchors

    with user_errors():
        if pem:
            typer.echo(trust_anchors(), nl=False)
            return
        _show(as_json=as_json)


@keys.command()
def make(as_json: JsonOption = False) -> None:
    """Make a certificate authority and a signing certificate in MUSETALK_HOME, unless they exist."""
    from tasks.content_credentials.local_authority import make_keys

    with user_errors():
        _require_local(read_settings())
        make_keys()
        _show(as_json=as_json)


@keys.command()
def rotate(as_json: JsonOption = False) -> None:
    """Replace the certificate authority and the signing certificate. Earlier outputs stay valid here."""
    from tasks.content_credentials.local_authority import rotate_keys

    with user_errors():
        _require_local(read_settings())
        rotate_keys()
        _show(as_json=as_json)


def _require_local(settings: "Settings") -> None:
    path = settings.provenance.certificate_chain
    if path is not None:
        raise UsageError(
            f"MUSETALK_PROVENANCE__CERTIFICATE_CHAIN names {path}: replace that certificate and its key."
        )


def _show(*, as_json: bool) -> None:
    from tasks.content_credentials.local_authority import has_keys

    settings = read_settings()
    if settings.provenance.certificate_chain is None and not has_keys():
        if as_json:
            print_json({"keys": None})
        else:
            make = command("provenance keys make")
            output_console().print(
                f"There are no signing keys yet. The first job makes them, or: {make}", markup=False
            )
        return
    facts = _facts(settings)
    if as_json:
        print_json({"keys": facts})
        return
    for name, value in facts.items():
        output_console().print(f"{name}: {value}", markup=False, highlight=False)


def _facts(settings: "Settings") -> dict[str, Any]:
    from tasks.content_credentials.signing_keys import signing_certificate, trust_anchors

    info = signing_certificate()
    return {
        "signer": info.subject,
        "issuer": info.issuer,
        "algorithm": info.algorithm,
        "fingerprint": info.fingerprint,
        "valid_until": info.not_after.date().isoformat(),
        "key": _key_location(settings),
        "trusted_certificates": trust_anchors().count("BEGIN CERTIFICATE"),
    }


def _key_location(settings: "Settings") -> str:
    given = settings.provenance
    if given.private_key is not None:
        return str(given.private_key)
    if given.signer_command is not None:
        return "an external command"
    return given.signer_url or str(settings.provenance_folder)
