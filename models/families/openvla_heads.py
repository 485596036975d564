"""OpenVLA-OFT's further parts, which lie beside the weights as files of their own. Imports no torch.

Kim et al., 2025 (2502.19645): a regression or diffusion head writes a chunk of continuous actions in place of action
tokens, a projector reads proprioception, and FiLM layers wrap the vision tower. They are published as pickles.
"""

from __future__ import annotations

from pathlib import Path

from models.checkpoint_files import CheckpointFiles
from models.errors import UserError

HEAD, STATE = "action_head", "proprio_projector"
PARTS = {
    HEAD: "the head that writes the actions",
    STATE: "the projector that reads proprioception",
    "noisy_action_projector": "the projector of the diffusion head",
    "vision_backbone": "the vision tower with its FiLM layers",
}
PICKLES = (".pt", ".pth", ".bin", ".ckpt")
TENSORS = ".safetensors"


def head_files(files: CheckpointFiles) -> dict[str, list[str]]:
    """Part -> names of the files that hold it; a pickle only where nothing else does."""
    found: dict[str, list[str]] = {}
    for part in PARTS:
        names = [name for name in files.entries() if name.startswith(part) and name.endswith((*PICKLES, TENSORS))]
        kept = [name for name in names if name.endswith(TENSORS)] or names
        found |= {part: kept} if kept else {}
    return found


def describe_heads(files: CheckpointFiles) -> str:
    """One line for the side bar; empty for a plain OpenVLA."""
    found = head_files(files)
    names = ", ".join(name for part in found.values() for name in part)
    return f"OpenVLA-OFT, as {names} tell; {_obstacle(found) or _OPENS}" if found else ""


def refuse_heads(files: CheckpointFiles) -> None:
    """Raises UserError for a checkpoint whose actions come from such a part: as a plain OpenVLA they would be wrong."""
    if found := head_files(files):
        raise UserError(f"{_described(files, found)}; {_obstacle(found) or _OPENS}")


def regression_files(files: CheckpointFiles) -> tuple[Path, Path | None]:
    """The files of the action head and, where there is one, of the projector that reads proprioception.

    Raises UserError for a checkpoint that needs something else, or has its parts as pickles.
    """
    found = head_files(files)
    if not found:
        raise UserError(f"{files.folder} has no {HEAD}*{TENSORS}, so it is no OpenVLA-OFT checkpoint")
    if obstacle := _obstacle(found):
        raise UserError(f"{_described(files, found)}; {obstacle}")
    head = files.find(found[HEAD][0])
    assert head is not None
    return head, files.find(found[STATE][0]) if STATE in found else None


_OPENS = 'it opens as what it is with family="openvla_oft"'


def _described(files: CheckpointFiles, found: dict[str, list[str]]) -> str:
    parts = "; ".join(f"{name} ({PARTS[part]})" for part, names in found.items() for name in names)
    return f"{files.folder} is an OpenVLA-OFT checkpoint, whose actions need {parts}"


def _obstacle(found: dict[str, list[str]]) -> str:
    """Why it does not open, and what would help; empty where it does."""
    names = {part: ", ".join(each) for part, each in found.items()}
    if other := [part for part in found if part not in (HEAD, STATE)]:
        return (
            f"it cannot be opened: {', '.join(f'{names[part]}, {PARTS[part]},' for part in other)} is not supported; "
            "open a checkpoint with a regression head and without FiLM"
        )
    if pickles := [name for each in found.values() for name in each if name.endswith(PICKLES)]:
        converted = ", ".join(f"{Path(name).stem}{TENSORS}" for name in pickles)
        return (
            f"it cannot be opened ({', '.join(pickles)}: pickles, which are never opened here, as they can run code); "
            f"convert what you trust to {converted}, with the same keys: read the state dict with weights_only=True "
            "and write it with safetensors.torch.save_file"
        )
    if HEAD not in found:
        return f"it cannot be opened: it has no {HEAD}*{TENSORS}, and action tokens in parallel are not supported"
    if several := next((each for each in found.values() if len(each) > 1), None):
        return f"it cannot be opened: {' and '.join(several)} are one part; keep the one that belongs to the weights"
    return ""
