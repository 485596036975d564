"""How a vision-language model ends and picks its words: what generation_config.json asks of greedy decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PretrainedConfig

from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError

FILE = "generation_config.json"


@dataclass(frozen=True)
class GenerationRules:
    """The part of generation_config.json that changes which tokens greedy decoding takes."""

    ends: tuple[int, ...]  # any of these ends the answer
    banned: tuple[int, ...]
    repetition_penalty: float

    @staticmethod
    def read(files: CheckpointFiles, config: PretrainedConfig) -> GenerationRules:
        """Raises UserError for values of another kind, or where nothing says which token ends an answer."""
        file = files.find(FILE)
        asked = ConfigSection.read(file) if file is not None else ConfigSection(f"{FILE}:", {})
        ends = _ids(asked, "eos_token_id") or _default_ends(config)
        if not ends:
            raise UserError(f"{files.model}: neither {FILE} nor config.json has an eos_token_id, which ends an answer")
        banned = [ids[0] for ids in _lists(asked, "bad_words_ids") if len(ids) == 1 and ids[0] not in ends]
        penalty = asked.number("repetition_penalty", default=1.0)
        if penalty <= 0:
            raise UserError(f"{FILE}: repetition_penalty is {penalty}, expected a number above 0")
        return GenerationRules(ends, (*banned, *_ids(asked, "suppress_tokens")), penalty)

    def allowed(self, size: int, device: torch.device) -> Bool[Tensor, " V"]:
        """Tokens of a vocabulary of ``size`` that may be said."""
        mask = torch.ones(size, dtype=torch.bool, device=device)
        mask[[token for token in self.banned if token < size]] = False
        return mask

    def penalised(self, logits: Float[Tensor, " V"], before: Sequence[int]) -> Float[Tensor, " V"]:
        """``logits`` with those of tokens that came ``before`` moved down, as CTRL does (arXiv:1909.05858)."""
        if self.repetition_penalty == 1.0:
            return logits
        seen = torch.tensor(sorted({token for token in before if token < len(logits)}), device=logits.device)
        found = logits[seen]
        moved = torch.where(found < 0, found * self.repetition_penalty, found / self.repetition_penalty)
        return logits.scatter(0, seen, moved)


def _default_ends(config: PretrainedConfig) -> tuple[int, ...]:
    """As transformers takes them from config.json, where they may be left out because they are its own defaults."""
    values = (getattr(each, "eos_token_id", None) for each in (config, config.get_text_config()))
    value = next((value for value in values if value is not None), None)
    return _ids(ConfigSection("config.json:", {"eos_token_id": value}), "eos_token_id")


def _ids(section: ConfigSection, key: str) -> tuple[int, ...]:
    """A token id or a list of them; none where the field is absent."""
    value: Any = section.fields.get(key)
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in ids):
        raise UserError(f"{section.where} {key} is {value!r}, expected a token id or a list of them")
    return tuple(ids)


def _lists(section: ConfigSection, key: str) -> list[list[int]]:
    value: Any = section.fields.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, list) for each in value):
        raise UserError(f"{section.where} {key} is {value!r}, expected a list of lists of token ids")
    return value
