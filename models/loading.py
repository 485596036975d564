"""Opening a checkpoint: its description from the files alone, or the policy itself."""

from __future__ import annotations

from pathlib import Path

from models import registry
from models.checkpoint import checkpoint_folder, digest, read_config
from models.policy import Policy
from models.types import CheckpointSpec


def inspect(path: str | Path, family: str | None = None, known_digest: str | None = None) -> CheckpointSpec:
    """What a checkpoint's files say; reads configuration and weights' headers, imports neither torch nor transformers.

    ``known_digest`` saves reading all weights where the caller has kept the digest of these very files.
    Raises UserError for a folder that is no checkpoint or is damaged.
    """
    folder = checkpoint_folder(path)
    name = registry.recognise(read_config(folder), family)
    spec: CheckpointSpec = registry.function(registry.FAMILIES[name].inspect)(
        folder, name, known_digest or digest(folder)
    )
    return spec


def load(
    path: str | Path,
    action_stats: str | None = None,
    family: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> Policy:
    """Open a checkpoint as a policy.

    ``action_stats`` names the data set whose statistics un-normalise the actions (needed where there are several),
    ``family`` overrides what the files cannot tell. Code that a checkpoint brings along is never run.
    Raises UserError for a folder that is no checkpoint, is damaged, or does not fit its own configuration.
    """
    folder = checkpoint_folder(path)
    spec = inspect(folder, family)
    opened: Policy = registry.function(registry.FAMILIES[spec.family].load)(folder, spec, action_stats, device, dtype)
    return opened
