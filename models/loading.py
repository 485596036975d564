"""Opening a checkpoint: its description from the files alone, or the policy itself."""

from __future__ import annotations

from pathlib import Path

from models import registry
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.policy import Policy
from models.types import CheckpointSpec


def inspect(
    path: str | Path, family: str | None = None, known_digest: str | None = None, base: str | Path | None = None
) -> CheckpointSpec:
    """What a checkpoint's files say; reads configuration and weights' headers, imports neither torch nor transformers.

    ``known_digest`` saves reading all weights where the caller has kept the digest of these very files.
    Raises UserError for a folder that is no checkpoint or is damaged.
    """
    return _inspect(CheckpointFiles.open(path, base), family, known_digest)


def alternatives(path: str | Path, base: str | Path | None = None) -> tuple[str, ...]:
    """Families that can open a checkpoint, the recognised one first; more than one where its files cannot tell.

    Raises UserError for a folder that is no checkpoint or of no known kind.
    """
    files = CheckpointFiles.open(path, base)
    return registry.alternatives(files.config(), files.names(), files.entries())


def load(
    path: str | Path,
    action_stats: str | None = None,
    family: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    base: str | Path | None = None,
    known_digest: str | None = None,
) -> Policy:
    """Open a checkpoint as a policy.

    ``action_stats`` names the data set whose statistics un-normalise the actions (needed where there are several),
    ``family`` overrides what the files cannot tell, ``base`` is the folder of the model that this one builds on (a LoRA
    adapter's base, a policy's backbone) where it does not lie beside it. ``dtype``: float32, bfloat16 or float16.
    ``known_digest`` as for `inspect`.
    Code that a checkpoint brings along is never run.
    Raises UserError for a folder that is no checkpoint, is damaged, or does not fit its own configuration.
    """
    files = CheckpointFiles.open(path, base)
    spec = _inspect(files, family, known_digest)
    opened: Policy = registry.function(registry.FAMILIES[spec.family].load)(files, spec, action_stats, device, dtype)
    return opened


def _inspect(files: CheckpointFiles, family: str | None, known_digest: str | None) -> CheckpointSpec:
    name = registry.recognise(files.config(), family, files.names(), files.entries())
    read = registry.function(registry.FAMILIES[name].inspect)
    spec: CheckpointSpec = read(files, name, known_digest or files.digest())
    stored = len(files.tensors())
    if max(spec.layers, spec.vision_layers) > stored:  # building so many would take for ever
        raise UserError(
            f"{files.model / 'config.json'} asks for {spec.layers} layers and {spec.vision_layers} of the vision "
            f"tower; the weights have {stored} tensors"
        )
    return spec
