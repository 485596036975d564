"""OpenVLA-OFT: a chunk of continuous actions from one forward that looks both ways, with exact attention rows.

Kim et al., 2025 (2502.19645), as published: behind the prompt stand empty positions, one for each step and dimension of
the chunk, and the end token. Trained as tokens are, an action is read off the position before its own: the first from
the prompt's last. A regression head makes a step of the hidden states of its dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.capture import LANGUAGE, RowCollector, Rows, check_layers, collecting
from models.checkpoint_files import CheckpointFiles
from models.cut_attention import Cuttable, active_cuts, cutting
from models.errors import UserError
from models.families.continuous_chunk import continuous_prediction, in_robot_units
from models.families.openvla import open_images
from models.families.openvla_oft_config import DataSet, OftConfig
from models.families.openvla_oft_network import OftNetwork, load_oft_network
from models.families.openvla_prompt import Prompt, PromptBuilder, open_tokenizer
from models.families.openvla_run import see, vision_records
from models.families.prismatic_images import PrismaticImages
from models.images import SeenImage
from models.policy import Policy
from models.types import (
    ActionSpace,
    AttentionRecord,
    Capture,
    CheckpointSpec,
    Observation,
    Part,
    Prediction,
    Rationale,
    Span,
    TokenLayout,
)


def load_openvla_oft(
    files: CheckpointFiles, spec: CheckpointSpec, action_stats: str | None, device: str, dtype: str
) -> Policy:
    """Raises UserError where no data set is chosen among several, or files are missing or do not fit each other."""
    config = OftConfig.read(files, spec.family)
    data_set = config.data_set(action_stats)
    spec = replace(spec, action_space=config.action_space(data_set.key))
    prompts = PromptBuilder(config.base, open_tokenizer(files), ends_empty=True)
    images = open_images(files, config.base)
    return OpenVLAOFTPolicy(spec, config, data_set, prompts, images, load_oft_network(files, config, device, dtype))


@dataclass(frozen=True)
class Question:
    """An observation as the policy reads it."""

    prompt: Prompt
    seen: tuple[tuple[SeenImage, ...], ...]  # of each tower, of each image
    state: Float[np.ndarray, " S"] | None  # in [-1, 1]


class OpenVLAOFTPolicy(Cuttable):
    """A Policy, Knockable, ActionDifferentiable. Holds no state between calls; several threads may call it at once."""

    def __init__(
        self,
        spec: CheckpointSpec,
        config: OftConfig,
        data_set: DataSet,
        prompts: PromptBuilder,
        images: PrismaticImages,
        network: OftNetwork,
    ):
        self.info = spec
        self.model = network
        self._config, self._data_set, self._prompts, self._images = config, data_set, prompts, images
        self._sites = network.vla.sites(config.base.streams)

    @property
    def _actions(self) -> int:
        """Empty positions behind the prompt."""
        return self._data_set.chunk * self._config.head.dimensions

    def layout(self, observation: Observation) -> TokenLayout:
        return self._question(observation).prompt.layout

    def predict(
        self, observation: Observation, capture: Capture | None = None, force: Rationale | str | None = None
    ) -> Prediction:
        if force is not None:
            raise UserError(f"{self.info.name} writes no rationale, so none can be forced on it")
        check_layers(capture.layers if capture else None, self.info.layers)
        question = self._question(observation)
        asked = self._queries(question.prompt, capture)
        collector = self._collector(question.prompt, capture, asked)
        with torch.inference_mode(), collecting(collector), cutting(self._sites, question.prompt.layout):
            normalised = self._run(question, collector, asked)
        assert self.info.action_space is not None
        actions = self._data_set.actions.restore(normalised.cpu().numpy().astype(np.float64))
        layout = with_actions(question.prompt.layout, self.info.action_space, actions)
        records = self._records(question.prompt, layout, capture, collector, asked) if capture and collector else ()
        return continuous_prediction(actions, self.info.action_space, layout, records)

    def _run(self, question: Question, collector: RowCollector | None, asked: range) -> Float[Tensor, "T D"]:
        if collector is not None:
            rows = slice(asked.start, asked.stop) if len(asked) else None
            collector.expect(rows, self._length(question.prompt))
        if (cuts := active_cuts()) is not None:
            assert self.info.action_space is not None
            empty = np.zeros((self._data_set.chunk, self._config.head.dimensions))
            layout = with_actions(question.prompt.layout, self.info.action_space, empty)
            cuts.expect_all(layout, 0, len(layout.tokens), shifted=True)
        return self._chunk(self._embed(question))

    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]:
        return self._embed(self._question(observation))

    def chunk_from(self, observation: Observation, embedded: Float[Tensor, "1 P width"]) -> Float[Tensor, "T D"]:
        return in_robot_units(self._chunk(embedded), self._data_set.actions.restore)

    def _embed(self, question: Question) -> Float[Tensor, "1 P width"]:
        network = self.model
        pixels = tuple(
            torch.from_numpy(np.stack([image.pixels for image in tower])).to(network.vla.device, network.vla.dtype)
            for tower in question.seen
        )
        state = torch.from_numpy(question.state)[None] if question.state is not None else None
        return network.embed(question.prompt.ids, pixels, state)

    def _chunk(self, prompt: Float[Tensor, "1 P width"]) -> Float[Tensor, "T D"]:
        """Normalised; read off the prompt's last position and all empty ones but the last."""
        network, first = self.model, prompt.shape[1] - 1
        hidden = network(network.with_empty(prompt, self._actions, self._config.base.eos))
        actions: Tensor = network.action_head(hidden[0, first : first + self._actions], self._data_set.chunk).float()
        return actions

    def _question(self, observation: Observation) -> Question:
        """Raises UserError for an observation that the policy cannot read."""
        if not observation.images:
            raise UserError(f"{self.info.name} reads one image or several, the observation has none")
        base = self._config.base
        seen = {camera: see(self._images, base, frame) for camera, frame in observation.images.items()}
        grids = [images[0].grid(camera, base.towers[0].patch) for camera, images in seen.items()]
        state = self._state(observation)
        prompt = self._prompts(observation.instruction, *grids, state=state is not None)
        if (length := self._length(prompt)) > base.positions:
            raise UserError(
                f"prompt and actions have {length} positions, the policy has {base.positions}; use a shorter "
                "instruction or fewer images"
            )
        return Question(prompt, tuple(zip(*seen.values(), strict=True)), state)

    def _state(self, observation: Observation) -> Float[np.ndarray, " S"] | None:
        scaling, names = self._data_set.state, len(self.info.state_names)
        if scaling is None:
            return None
        if observation.state is None:
            raise UserError(f"{self.info.name} reads {names} state values, the observation has no state")
        if observation.state.shape != (names,):
            raise UserError(f"{self.info.name} reads {names} state values, found shape {observation.state.shape}")
        if not np.isfinite(observation.state).all():
            raise UserError("the observation's state is not finite")
        return scaling.normalise(observation.state.astype(np.float64))

    def _length(self, prompt: Prompt) -> int:
        return prompt.length + self._actions + 1

    def _queries(self, prompt: Prompt, capture: Capture | None) -> range:
        """Positions whose rows are wanted: those that actions are read off, with the prefix all there are."""
        if capture is not None and capture.prefix:
            return range(self._length(prompt))
        wanted = capture is not None and Part.ACTION in capture.queries
        return range(prompt.length - 1, prompt.length - 1 + (self._actions if wanted else 0))

    def _collector(self, prompt: Prompt, capture: Capture | None, asked: range) -> RowCollector | None:
        if capture is None:
            return None
        towers: dict[str, Rows | None] = dict.fromkeys(self._config.base.streams) if capture.vision else {}
        return RowCollector(self._sites, {LANGUAGE: Rows(len(asked), self._length(prompt), capture.layers)} | towers)

    def _records(
        self, prompt: Prompt, layout: TokenLayout, capture: Capture, collector: RowCollector, asked: range
    ) -> tuple[AttentionRecord, ...]:
        wanted = range(self._actions) if Part.ACTION in capture.queries else range(0)
        places = [query - (prompt.length - 1) for query in asked]
        language = AttentionRecord(
            weights=collector.weights(LANGUAGE, len(layout.tokens)),
            layers=collector.layers(LANGUAGE),
            queries=tuple(asked),
            produced=tuple(place if place in wanted else -1 for place in places),
            layout=layout,
        )
        return (language, *vision_records(self._config.base, layout, collector)) if capture.vision else (language,)


def with_actions(prompt: TokenLayout, space: ActionSpace, actions: Float[np.ndarray, "T D"]) -> TokenLayout:
    """``prompt``, then a position for each step and dimension, and the end token, which the policy is given."""
    texts, spans = list(prompt.tokens), list(prompt.spans)
    for step, values in enumerate(actions):
        for name, value in zip(space.names, values, strict=True):
            spans.append(Span(Part.ACTION, f"step {step} {name}", len(texts), len(texts) + 1))
            texts.append(f"{name} {value:+.3g}")
    spans.append(Span(Part.SPECIAL, "eos", len(texts), len(texts) + 1))
    return TokenLayout((*texts, "</s>"), tuple(spans))
