"""Verification of C2PA manifests. Sends nothing: references to remote manifests are not followed."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from musetalk_core.content_credentials.claims import JOB_ASSERTION, SOURCE_TYPES_URL
from musetalk_core.content_credentials.signing import OFFLINE

State = Literal["valid", "unknown_signer", "altered", "no_manifest"]
"""
Result of a verification:

* valid: signed by a trusted signer, and unchanged since.
* unknown_signer: unchanged since it was signed, by a signer that is not trusted.
* altered: the file or the manifest was changed after signing, or the manifest cannot be read.
* no_manifest: the file has no manifest.
"""
MAX_REPORT_CHARS: Final = 16_000_000
"""Limit of a manifest store's JSON form. A store above it is reported as unreadable."""
_MAX_MANIFESTS: Final = 50
_MAX_DEPTH: Final = 16
_MAX_ITEMS: Final = 20
"""Actions, ingredients and problems per manifest that are reported."""
_MAX_CHARS: Final = 300
_MAX_FACTS_CHARS: Final = 5000
_NO_MANIFEST_ERRORS: Final = ("ManifestNotFound", "NotSupported")
"""Ends of the names of c2pa-rs' errors for a file without a manifest, or of a type that cannot hold one."""
_SIGNER_CODES: Final = ("signingCredential.", "timeStamp.", "timeOfSigning.")
"""Prefixes of failures that concern trust in the signer, not the bytes."""


@dataclass(frozen=True, slots=True)
class IngredientReport:
    """
    An input file, as a manifest states it.

    Attributes:
        title:        its role or file name.
        relationship: parentOf, componentOf or inputTo.
        media_type:   media type; None if it is not stated.
        sha256:       SHA-256 of its bytes, if this program signed the manifest.
        problems:     failure codes of its own manifest when it was added, without those about trust.
        manifest:     its own manifest; None if it had none.
    """

    title: str
    relationship: str
    media_type: str | None
    sha256: str | None
    problems: tuple[str, ...]
    manifest: "ManifestReport | None"


@dataclass(frozen=True, slots=True)
class ManifestReport:
    """
    Statements of one manifest.

    Attributes:
        label:        its identifier.
        title:        title of the file.
        program:      name and version of the program that signed it.
        signer:       common name of the signing certificate.
        issuer:       organization of its issuer.
        signed_at:    time from a time stamp authority; None without one.
        actions:      what was done, as `action (source type)`.
        description:  sentence for people about the main action.
        source_types: IPTC terms for how the file was made, without their URL.
        facts:        facts from this program: job, engine, models; empty for other programs, and above 5000
            characters.
        ingredients:  input files.
    """

    label: str
    title: str | None
    program: str | None
    signer: str | None
    issuer: str | None
    signed_at: str | None
    actions: tuple[str, ...]
    description: str | None
    source_types: tuple[str, ...]
    facts: Mapping[str, Any]
    ingredients: tuple[IngredientReport, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """
    Result of a verification.

    Attributes:
        state:    see `State`.
        problems: failure codes of the C2PA specification, or one sentence if the manifest cannot be read.
        manifest: the active manifest; None if there is none or it cannot be read.
        embedded: whether the manifest is inside the file.
    """

    state: State
    problems: tuple[str, ...]
    manifest: ManifestReport | None
    embedded: bool


def verify_file(
    path: Path, media_type: str, *, anchors: str = "", sidecar: bytes | None = None
) -> Verification:
    """
    Verify a file's manifest.

    Args:
        path:       the file.
        media_type: its media type.
        anchors:    trusted root certificates in PEM, one after the other; empty for none.
        sidecar:    manifest store from beside the file; None for the embedded one.

    Returns:
        The result. Damaged and hostile files give `altered` or `no_manifest`, never an exception.
    """
    import c2pa  # local: loads a library of 16 MB

    settings = {**OFFLINE, **({"trust": {"user_anchors": anchors}} if anchors else {})}
    try:
        with ExitStack() as stack:
            context = stack.enter_context(c2pa.Context(c2pa.Settings.from_dict(settings)))
            stream = stack.enter_context(path.open("rb"))
            reader = stack.enter_context(
                c2pa.Reader(media_type.partition(";")[0], stream, sidecar, context=context)
            )
            text = reader.json()
            if len(text) > MAX_REPORT_CHARS:
                return _unreadable("the manifest store is too large")
            return _to_verification(json.loads(text), embedded=sidecar is None)
    except c2pa.C2paError as error:
        if type(error).__name__.endswith(_NO_MANIFEST_ERRORS):
            return Verification("no_manifest", (), None, embedded=False)
        return _unreadable(f"the manifest cannot be read: {error}")
    except (ValueError, RecursionError) as error:
        return _unreadable(f"the manifest cannot be read: {error}")


def _unreadable(problem: str) -> Verification:
    return Verification("altered", (problem,), None, embedded=False)


def _to_verification(store: Mapping[str, Any], *, embedded: bool) -> Verification:
    manifests = cast(Mapping[str, Mapping[str, Any]], store.get("manifests") or {})
    label = str(store.get("active_manifest") or "")
    if label not in manifests:
        return Verification("no_manifest", (), None, embedded=False)
    problems = tuple(dict.fromkeys(_failure_codes(store.get("validation_status"))))[:_MAX_ITEMS]
    report = _Reports(manifests).report(label, 0)
    if any(not code.startswith(_SIGNER_CODES) for code in problems):
        return Verification("altered", problems, report, embedded)
    state: State = "valid" if store.get("validation_state") == "Trusted" else "unknown_signer"
    return Verification(state, problems, report, embedded)


def _failure_codes(statuses: Any) -> Iterator[str]:
    for status in statuses if isinstance(statuses, list) else ():
        code = status.get("code") if isinstance(status, dict) else None
        if code:
            yield str(code)[:_MAX_CHARS]


class _Reports:
    """Reports of a store's manifests, bounded in number, depth and length."""

    def __init__(self, manifests: Mapping[str, Mapping[str, Any]]) -> None:
        self._manifests, self._left = manifests, _MAX_MANIFESTS

    def report(self, label: str, depth: int) -> ManifestReport | None:
        """Return the report of a manifest and of its ingredients' manifests; None beyond the limits."""
        manifest = self._manifests.get(label)
        if manifest is None or depth > _MAX_DEPTH or self._left <= 0:
            return None
        self._left -= 1
        signature = _mapping(manifest.get("signature_info"))
        generator = _mapping(next(iter(_list(manifest.get("claim_generator_info"))), {}))
        actions = [_mapping(one) for one in _actions(manifest)[:_MAX_ITEMS]]
        facts = _assertion(manifest, JOB_ASSERTION)
        if len(json.dumps(facts)) > _MAX_FACTS_CHARS:
            facts = {}
        return ManifestReport(
            label=label,
            title=_text(manifest.get("title")),
            program=" ".join(filter(None, (_text(generator.get("name")), _text(generator.get("version")))))
            or _text(manifest.get("claim_generator")),
            signer=_text(signature.get("common_name")),
            issuer=_text(signature.get("issuer")),
            signed_at=_text(signature.get("time")),
            actions=tuple(str(one.get("action", ""))[:_MAX_CHARS] for one in actions),
            description=next((text for one in actions if (text := _text(one.get("description")))), None),
            source_types=tuple(_source_types(actions)),
            facts=facts,
            ingredients=tuple(self._ingredients(manifest, depth)),
        )

    def _ingredients(self, manifest: Mapping[str, Any], depth: int) -> Iterator[IngredientReport]:
        for given in _list(manifest.get("ingredients"))[:_MAX_ITEMS]:
            ingredient = _mapping(given)
            results = _mapping(ingredient.get("validation_results"))
            failures = _mapping(results.get("activeManifest")).get("failure")
            codes = [*_failure_codes(failures), *_failure_codes(ingredient.get("validation_status"))]
            yield IngredientReport(
                title=str(ingredient.get("title") or "")[:_MAX_CHARS],
                relationship=str(ingredient.get("relationship") or "")[:_MAX_CHARS],
                media_type=_text(ingredient.get("format")),
                sha256=_text(_mapping(ingredient.get("metadata")).get(f"{JOB_ASSERTION}.sha256")),
                problems=tuple(dict.fromkeys(c for c in codes if not c.startswith(_SIGNER_CODES)))[
                    :_MAX_ITEMS
                ],
                manifest=self.report(str(ingredient.get("active_manifest") or ""), depth + 1),
            )


def _actions(manifest: Mapping[str, Any]) -> list[Any]:
    return [
        action
        for label in ("c2pa.actions", "c2pa.actions.v2")
        for action in _list(_assertion(manifest, label).get("actions"))
    ]


def _assertion(manifest: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    for assertion in map(_mapping, _list(manifest.get("assertions"))):
        if assertion.get("label") == label:
            return _mapping(assertion.get("data"))
    return {}


def _source_types(actions: list[Mapping[str, Any]]) -> Iterator[str]:
    for action in actions:
        source_type = _text(action.get("digitalSourceType"))
        if source_type:
            yield source_type.removeprefix(SOURCE_TYPES_URL)


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return str(value)[:_MAX_CHARS] if isinstance(value, str | int) else None
