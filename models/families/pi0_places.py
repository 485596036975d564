"""Where the stored tensors of a π0 policy belong, by any of the names that they have gone by. No torch.

LeRobot's names changed with transformers' own (``paligemma.language_model.model``, ``paligemma.model.language_model``);
transformers' save_pretrained writes LeRobot's; the names on the right are those of transformers' module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from models.families.lerobot_folder import UNUSED as STATISTICS

LANGUAGE_MODEL, VISION_TOWER, ACTION_EXPERT = "model.vlm.language_model.", "model.vlm.vision_tower.", "model.dit."
PROJECTOR, EMBEDDINGS = "model.vlm.multi_modal_projector.", f"{LANGUAGE_MODEL}embed_tokens.weight"
PALIGEMMA = r"^(?:model\.)?paligemma_with_expert\.paligemma\."
EXPERT = r"^(?:model\.)?paligemma_with_expert\.gemma_expert\."
RENAMINGS: Mapping[str, str] = {
    PALIGEMMA + r"(?:model\.)?language_model\.(?:model\.)?(?=embed_tokens|layers|norm)": LANGUAGE_MODEL,
    PALIGEMMA + r"(?:model\.)?vision_tower\.(?:vision_model\.)?": VISION_TOWER,
    PALIGEMMA + r"(?:model\.)?multi_modal_projector\.": PROJECTOR,
    PALIGEMMA + r"(?:language_model\.)?lm_head\.": f"{LANGUAGE_MODEL}embed_tokens.",
    EXPERT + r"model\.": ACTION_EXPERT,
    EXPERT + r"lm_head\.": f"{ACTION_EXPERT}embed_tokens.",
    r"^(?:model\.)?(?=state_proj|action_in_proj|action_time_mlp_)": "embed_action_time.",
    r"^(?:model\.)?(?=action_out_proj)": "",
}
EXPERT_WORDS = "the action expert reads and writes no words"
TIED_HEAD = "the language model writes no words; its head is stored beside the embeddings that it equals"
UNUSED: Mapping[str, str] = {
    **STATISTICS,
    "*paligemma_with_expert.gemma_expert.lm_head.weight": EXPERT_WORDS,
    "*paligemma_with_expert.gemma_expert.model.embed_tokens.weight": EXPERT_WORDS,
    "model.dit.embed_tokens.weight": EXPERT_WORDS,
    "*paligemma_with_expert.paligemma.*vision_tower.*head.*": "every patch is read, so nothing is pooled",
}


def places(names: Iterable[str]) -> dict[str, str]:
    """Stored name -> name in PI0ForConditionalGeneration. A name that is not known stands for itself."""
    found = {name: _place(name) for name in names}
    claimed = [name for name, place in found.items() if place == EMBEDDINGS]
    if len(claimed) > 1:
        found = {name: place for name, place in found.items() if place != EMBEDDINGS or not _is_head(name)}
    return found


def stored_name(place: str, known: Mapping[str, str]) -> str:
    """What the tensor that belongs at ``place`` would be called in these files; ``known``: what `places` gave."""
    for prefix in (
        f"{LANGUAGE_MODEL}layers.",
        f"{ACTION_EXPERT}layers.",
        VISION_TOWER,
        PROJECTOR,
        "embed_action_time.",
    ):
        for name, other in known.items():
            if place.startswith(prefix) and other.startswith(prefix):
                return name.removesuffix(other.removeprefix(prefix)) + place.removeprefix(prefix)
    return place


def unused(names: Iterable[str]) -> dict[str, str]:
    """Those of the stored names (* for any) that are left out on purpose, and why."""
    known = tuple(names)
    heads = [name for name in known if _place(name) == EMBEDDINGS and _is_head(name)]
    left_out = [name for name in heads if name not in places(known)]
    there = {pattern: why for pattern, why in UNUSED.items() if any(fnmatchcase(name, pattern) for name in known)}
    return {**there, **dict.fromkeys(left_out, TIED_HEAD)}


def _is_head(name: str) -> bool:
    return "lm_head" in name


def _place(name: str) -> str:
    for pattern, replacement in RENAMINGS.items():
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name
