"""What a policy thinks of words and actions that it is told it said: for gradients, and for many inputs at once.

One forward reads prompt and answer together; nothing is generated. A family brings how it embeds an observation and how
its language model reads embeddings; the rest is the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig

from models.device_memory import free_memory
from models.types import CheckpointSpec, Observation

LIVE_VECTORS, LIVE_MAPS = 24, 3  # vectors of the model's width a position, and maps a head, that a layer holds at once
LARGEST_BATCH = 32
LEAST_SHARED = 4  # leading positions worth a cache of their own


class TeacherForcing(ABC):
    """Makes a policy Differentiable and BatchScoring."""

    info: CheckpointSpec

    @abstractmethod
    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]: ...

    @abstractmethod
    def _word_table(self) -> nn.Module:
        """Ids to embeddings."""

    @abstractmethod
    def _next_logits(
        self, embedded: Float[Tensor, "B L width"], prompt: int, keep: Int[Tensor, " R"], cache: DynamicCache | None
    ) -> Float[Tensor, "B R V"]:
        """Logits after the positions ``keep``; the first ``prompt`` positions are the prompt.

        ``cache`` holds the positions before ``embedded``; only a causal family is given one.
        """

    def _causal_config(self) -> PretrainedConfig | None:
        """The language model's configuration where every position looks back only, so that a prefix can be shared."""
        return None

    def embed_all(self, observations: Sequence[Observation]) -> list[Float[Tensor, "P width"]]:
        """As `embed` of each."""
        return [self.embed(observation)[0] for observation in observations]

    def embed_words(self, tokens: Sequence[int]) -> Float[Tensor, "1 N width"]:
        table = self._word_table()
        device = next(table.parameters()).device
        embedded: Tensor = table(torch.tensor([list(tokens)], dtype=torch.long, device=device))
        return embedded

    def log_probabilities(self, embedded: Float[Tensor, "1 P width"], tokens: Sequence[int]) -> Float[Tensor, "N V"]:
        return self.batch_log_probabilities(embedded, self.embed_words(tokens[:-1]), range(len(tokens)))[0]

    def batch_log_probabilities(
        self, embedded: Float[Tensor, "B P width"], said: Float[Tensor, "#B N width"], rows: Sequence[int]
    ) -> Float[Tensor, "B R V"]:
        prompt = embedded.shape[1]
        whole = torch.cat([embedded, said.to(embedded.dtype).expand(len(embedded), -1, -1)], dim=1)
        whole = whole[:, : prompt + max(rows)]  # what follows the last row asked for changes nothing
        keep = torch.tensor([prompt - 1 + row for row in rows], device=embedded.device)
        shared = self._shared(whole, int(keep.min()))
        if not shared:
            return torch.log_softmax(self._next_logits(whole, prompt, keep, None).float(), dim=-1)
        cache = DynamicCache(config=self._causal_config())
        self._next_logits(whole[:1, :shared], shared, keep[:1] * 0 + shared - 1, cache)
        cache.batch_repeat_interleave(len(whole))
        logits = self._next_logits(whole[:, shared:], prompt - shared, keep - shared, cache)
        return torch.log_softmax(logits.float(), dim=-1)

    def score_all(
        self, observations: Sequence[Observation], tokens: Sequence[int], rows: Sequence[int]
    ) -> Float[np.ndarray, "B R V"]:
        with torch.inference_mode():
            embedded = self.embed_all(observations)
            said = self.embed_words(tokens[: max(rows)])
            found: list[Any] = [None] * len(embedded)
            for length in {len(each) for each in embedded}:
                same = [index for index, each in enumerate(embedded) if len(each) == length]
                together = torch.stack([embedded[index] for index in same])
                scores = self.batch_log_probabilities(together, said, rows).cpu().numpy()
                for index, row in zip(same, scores, strict=True):
                    found[index] = row
        return np.stack(found)

    def batch_limit(self, positions: int, rows: int) -> int:
        table = self._word_table()
        weight = next(table.parameters())
        vocabulary, width = weight.shape
        numbers = positions * width * LIVE_VECTORS + self.info.heads * positions**2 * LIVE_MAPS + rows * vocabulary * 3
        return max(1, min(LARGEST_BATCH, free_memory(str(weight.device)) // 4 // (numbers * 4)))

    def _shared(self, whole: Float[Tensor, "B L width"], before: int) -> int:
        """Leading positions that all samples have in common and that can be read once for all of them."""
        if len(whole) == 1 or torch.is_grad_enabled() or self._causal_config() is None:
            return 0
        same = (whole == whole[:1]).all(dim=2).all(dim=0)
        count = min(int(same.long().cumprod(dim=0).sum()), before)
        return count if count >= LEAST_SHARED else 0


def different_frames(observations: Sequence[Observation]) -> tuple[list[np.ndarray], list[int]]:
    """The frames of observations with one camera, each once, and which of them every observation has."""
    places: dict[int, int] = {}
    frames: list[np.ndarray] = []
    chosen: list[int] = []
    for observation in observations:
        frame = next(iter(observation.images.values()))
        if id(frame) not in places:
            places[id(frame)] = len(frames)
            frames.append(frame)
        chosen.append(places[id(frame)])
    return frames, chosen
