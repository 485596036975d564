"""What the files of an ECoT checkpoint say: OpenVLA's, and that it writes its reasoning. Imports no torch."""

from __future__ import annotations

from dataclasses import replace

from models.checkpoint_files import CheckpointFiles
from models.families.ecot_reasoning import NEW_TOKENS
from models.families.openvla_spec import inspect_openvla
from models.rationale_text import StatedRationale
from models.registry import FAMILIES, named_as
from models.types import CheckpointSpec


def inspect_ecot(files: CheckpointFiles, family: str, digest: str) -> CheckpointSpec:
    """Raises UserError for damaged weights or a configuration that makes no sense."""
    spec = inspect_openvla(files, family, digest)
    named = named_as(FAMILIES["ecot"].names, files.names())
    reason = f"it is called {named!r}" if named is not None else 'it was opened with family="ecot"'
    most, told = (
        f"up to {NEW_TOKENS} tokens, action included,",
        f"ECoT, as {reason}; the files are OpenVLA's and do not tell",
    )
    if (stated := StatedRationale.read(files.config())) is not None:
        most, told = f"up to {stated.max_tokens} tokens before the action,", "ECoT, as config.json says"
    notes = {"family": told, "reasoning": f"{most} or to the end token"}
    return replace(spec, generates_rationale=True, notes={**spec.notes, **notes})
