"""OpenVLA-OFT's network: an OpenVLA that looks both ways, a projector of proprioception, and a regression head.

Kim et al., 2025 (2502.19645). Modules are named as the published state dicts name them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.checkpoint_files import CheckpointFiles
from models.families.openvla_network import OpenVLANetwork, load_network
from models.families.openvla_oft_config import HeadShape, OftConfig, bare
from models.families.openvla_oft_spec import UNUSED
from models.families.weights import Weights, fill, without_weights


class OftNetwork(nn.Module):
    def __init__(self, vla: OpenVLANetwork, action_head: ActionHead, proprio_projector: ProprioProjector | None):
        super().__init__()
        self.vla, self.action_head, self.proprio_projector = vla, action_head, proprio_projector

    def embed(
        self,
        ids: tuple[int, ...],
        pixels: tuple[Float[Tensor, "I 3 h w"], ...],
        state: Float[Tensor, "1 S"] | None,
    ) -> Float[Tensor, "1 P width"]:
        """BOS, patches of all images, state, words."""
        words = self._words(ids)
        pieces = [words[:, :1], self.vla.image_features(pixels).flatten(0, 1)[None]]
        if state is not None and self.proprio_projector is not None:
            pieces.append(self.proprio_projector(state.to(words.device, words.dtype))[None])
        return torch.cat([*pieces, words[:, 1:]], dim=1)

    def with_empty(self, prompt: Float[Tensor, "1 P width"], actions: int, eos: int) -> Float[Tensor, "1 L width"]:
        """``prompt``, as many empty positions as there are ``actions``, end token."""
        end = self._words((eos,))
        return torch.cat([prompt, end.new_zeros(1, actions, end.shape[2]), end.to(prompt.dtype)], dim=1)

    def forward(self, embedded: Float[Tensor, "1 P width"]) -> Float[Tensor, "1 P width"]:
        """Hidden states after the last norm; every position looks at every other."""
        count = embedded.shape[1]
        everything = torch.ones(1, 1, count, count, dtype=torch.bool, device=embedded.device)
        read = self.vla.language_model.model(inputs_embeds=embedded, attention_mask=everything, use_cache=False)
        hidden: Tensor = read.last_hidden_state
        return hidden

    def _words(self, ids: tuple[int, ...]) -> Float[Tensor, "1 n width"]:
        return self.vla.language_model.get_input_embeddings()(torch.tensor([ids], device=self.vla.device))


class ActionHead(nn.Module):
    """A step of the chunk from the hidden states of its dimensions, joined."""

    def __init__(self, shape: HeadShape, width: int):
        super().__init__()
        self.model = ResidualMLP(width * shape.dimensions, shape.inner, shape.dimensions, shape.blocks)

    def forward(self, hidden: Float[Tensor, "N width"], steps: int) -> Float[Tensor, "T D"]:
        return self.model(hidden.reshape(steps, -1))


class ResidualMLP(nn.Module):
    def __init__(self, reads: int, inner: int, writes: int, blocks: int):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(reads)
        self.fc1 = nn.Linear(reads, inner)
        self.mlp_resnet_blocks = nn.ModuleList([ResidualBlock(inner) for _ in range(blocks)])
        self.layer_norm2 = nn.LayerNorm(inner)
        self.fc2 = nn.Linear(inner, writes)

    def forward(self, x: Float[Tensor, "T reads"]) -> Float[Tensor, "T writes"]:
        x = torch.relu(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        return self.fc2(self.layer_norm2(x))


class ResidualBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Float[Tensor, "T inner"]) -> Float[Tensor, "T inner"]:
        return x + self.ffn(x)


class ProprioProjector(nn.Module):
    def __init__(self, state: int, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(state, width), nn.Linear(width, width)

    def forward(self, state: Float[Tensor, "1 S"]) -> Float[Tensor, "1 width"]:
        return self.fc2(nn.functional.gelu(self.fc1(state)))


def load_oft_network(files: CheckpointFiles, config: OftConfig, device: str, dtype: str) -> OftNetwork:
    """Raises UserError for a tensor that is missing, misshapen or left over, in any of the files."""
    width, projector = config.base.width, config.projector
    vla = load_network(config.base, Weights(files, device, dtype), speaks=False, unused=UNUSED)
    head = without_weights(lambda: ActionHead(config.head, width))
    _fill(head, Weights(files, device, dtype, config.head.file))
    if projector is None:
        return OftNetwork(vla, head, None).eval()
    reader = without_weights(lambda: ProprioProjector(projector.state, width))
    _fill(reader, Weights(files, device, dtype, projector.file))
    return OftNetwork(vla, head, reader).eval()


def _fill(module: nn.Module, weights: Weights) -> None:
    fill(module, weights, {name: bare(name) for name in weights.stored}, {})
