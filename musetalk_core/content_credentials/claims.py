"""
Claims about a file: how it was made, by which program and models, from which inputs.

`manifest_definition` converts a claim to the C2PA manifest definition that c2pa-rs signs. A claim names files
by role and SHA-256; file names and job ids are in it only if the caller adds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

SOURCE_TYPES_URL: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""Base of the IPTC vocabulary "Digital Source Type"."""
JOB_ASSERTION: Final = "org.musetalk-flows.job"
"""Label of the assertion with job, engine and models."""

SourceType = Literal[
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "compositeSynthetic",
    "algorithmicallyEnhanced",
]
"""
Terms of the IPTC vocabulary for what this program makes:

* trainedAlgorithmicMedia: created by a trained model (synthetic speech, transcripts).
* compositeWithTrainedAlgorithmicMedia: a trained model generates a part of each frame (engine musetalk).
* compositeSynthetic: a composite with a synthetic part that no trained generator made (engine viseme).
* algorithmicallyEnhanced: an algorithm draws on the picture (boxes, captions).
"""
Action = Literal["c2pa.created", "c2pa.edited", "c2pa.addedText", "c2pa.drawing"]
Relationship = Literal["parentOf", "componentOf", "inputTo"]


@dataclass(frozen=True, slots=True)
class IngredientFile:
    """
    An input file of the work.

    Attributes:
        role:         what the file was used as: `video`, `audio`, `captions`.
        media_type:   its media type.
        sha256:       SHA-256 of its bytes.
        relationship: parentOf for the file that was edited, componentOf for a file that became a part of the
                      output, inputTo for a file that was only read.
        path:         the file, whose own manifest store is kept with the ingredient.
        name:         file name to publish; None for none.
        job:          id of the job that made the file; None if no job did.
        sidecar:      manifest store from beside the file, if its type cannot hold one.
        is_readable:  False if its embedded manifest store must not be parsed; it is then left out.
    """

    role: str
    media_type: str
    sha256: str
    relationship: Relationship
    path: Path
    name: str | None = None
    job: str | None = None
    sidecar: bytes | None = field(default=None, repr=False)
    is_readable: bool = True


@dataclass(frozen=True, slots=True)
class Claim:
    """
    Statements of a manifest about a file.

    Attributes:
        title:       name of the file.
        action:      what was done to make it.
        source_type: how it was made.
        description: one sentence for people.
        program:     name of the program.
        version:     its version.
        facts:       further facts as JSON values: job, engine, models.
        ingredients: input files; at most one of them is a parent.
    """

    title: str
    action: Action
    source_type: SourceType
    description: str
    program: str
    version: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ingredients: tuple[IngredientFile, ...] = ()


def manifest_definition(claim: Claim, media_type: str) -> dict[str, Any]:
    """
    Return the C2PA manifest definition of a claim, without its ingredients.

    Args:
        claim:      the claim.
        media_type: media type of the file.
    """
    generator = {"name": claim.program, "version": claim.version}
    inputs = [
        {"role": one.role, "sha256": one.sha256, **({"job": one.job} if one.job else {})}
        for one in claim.ingredients
    ]
    return {
        "claim_generator_info": [generator],
        "title": claim.title,
        "format": media_type,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": _actions(claim, generator)}},
            {"label": JOB_ASSERTION, "data": {**claim.facts, "inputs": inputs}},
        ],
    }


def ingredient_definition(ingredient: IngredientFile) -> dict[str, Any]:
    """Return the C2PA ingredient definition of an input file."""
    return {
        "title": ingredient.name or ingredient.role,
        "relationship": ingredient.relationship,
        "label": ingredient.role,
        "instance_id": f"urn:sha256:{ingredient.sha256}",
        "metadata": {f"{JOB_ASSERTION}.sha256": ingredient.sha256},
    }


def _actions(claim: Claim, generator: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the actions: the parent opened, components placed, then the claim's own action."""
    actions: list[dict[str, Any]] = []
    parents = [one.role for one in claim.ingredients if one.relationship == "parentOf"]
    placed = [one.role for one in claim.ingredients if one.relationship == "componentOf"]
    read = [one.role for one in claim.ingredients if one.relationship == "inputTo"]
    own: dict[str, Any] = {
        "action": claim.action,
        "digitalSourceType": SOURCE_TYPES_URL + claim.source_type,
        "softwareAgent": dict(generator),
        "description": claim.description,
    }
    if read:
        own["parameters"] = {"ingredientIds": read}
    if parents:
        actions.append({"action": "c2pa.opened", "parameters": {"ingredientIds": parents}})
    elif claim.action == "c2pa.created":  # the standard wants this action first
        actions.append(own)
    if placed:
        actions.append({"action": "c2pa.placed", "parameters": {"ingredientIds": placed}})
    if own not in actions:
        actions.append(own)
    return actions
