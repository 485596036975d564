"""OpenVLA-OFT's further parts, which lie beside the weights as files of their own. Imports no torch.

Kim et al., 2025 (2502.19645): a regression or diffusion head writes a chunk of continuous actions in place of action
tokens, a projector reads proprioception, and FiLM layers wrap the vision tower. They are published as pickles.
"""

from __future__ import annotations

from models.checkpoint_files import CheckpointFiles
from models.errors import UserError

PARTS = {
    "action_head": "the head that writes the actions",
    "proprio_projector": "the projector that reads proprioception",
    "noisy_action_projector": "the projector of the diffusion head",
    "vision_backbone": "the vision tower with its FiLM layers",
}
PICKLES = (".pt", ".pth", ".bin", ".ckpt")


def head_files(files: CheckpointFiles) -> dict[str, str]:
    """Name of every file that holds such a part -> what it is."""
    names = sorted({entry.name for folder in (files.folder, files.model) for entry in folder.iterdir()})
    return {
        name: what
        for name in names
        for part, what in PARTS.items()
        if name.startswith((f"{part}--", f"{part}.", f"{part}-")) and name.endswith((*PICKLES, ".safetensors"))
    }


def describe_heads(files: CheckpointFiles) -> str:
    """One line for the side bar; empty for a plain OpenVLA."""
    found = head_files(files)
    return f"OpenVLA-OFT, which cannot be opened: {', '.join(found)}" if found else ""


def refuse_heads(files: CheckpointFiles) -> None:
    """Raises UserError for a checkpoint whose actions come from such a part: as a plain OpenVLA they would be wrong."""
    found = head_files(files)
    if not found:
        return
    pickles = [name for name in found if name.endswith(PICKLES)]
    parts = "; ".join(f"{name} ({what})" for name, what in found.items())
    reason = (
        f"{', '.join(pickles)}: pickles, which are never opened here, as they can run code"
        if pickles
        else "how long its chunk is and which cameras it reads stands in none of its files"
    )
    raise UserError(
        f"{files.folder} is an OpenVLA-OFT checkpoint, whose actions need {parts}; it cannot be opened ({reason}), and "
        "without these parts its actions would be wrong: open an OpenVLA checkpoint that writes action tokens"
    )
