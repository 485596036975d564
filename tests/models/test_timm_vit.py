"""The ViT that reads timm's keys against transformers' own towers: features, attention rows, and broken files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from models.capture import RowCollector, attention_sites, collecting
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.timm_vit import TimmViT
from models.families.timm_vit_shape import read_vit_shape
from models.families.weights import Weights, fill, without_weights

PREFIX = "vision_backbone.featurizer."
SETTINGS = {"hidden_size": 48, "num_hidden_layers": 3, "image_size": 56, "patch_size": 14, "hidden_act": "gelu"}
SETTINGS |= {"attn_implementation": "eager"}


def randomised(model: nn.Module) -> nn.Module:
    """Nothing may be left at zero or one, or a forgotten tensor would not show."""
    random = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=random))
    return model.eval()


def rename(state: Mapping[str, Tensor], layer: str, names: Mapping[str, str]) -> dict[str, Tensor]:
    """transformers' names to timm's; query, key and value become one tensor."""
    found: dict[str, Tensor] = {}
    for number in range(SETTINGS["num_hidden_layers"]):
        for ours, theirs in names.items():
            for leaf in ("weight", "bias"):
                stored = [state[f"{layer}{number}.{each}.{leaf}"] for each in theirs.split("+")]
                found[f"blocks.{number}.{ours}.{leaf}"] = torch.cat(stored)
    return found


def siglip() -> tuple[nn.Module, dict[str, Tensor], str]:
    model = randomised(
        SiglipVisionModel(
            SiglipVisionConfig(**SETTINGS, num_attention_heads=16, intermediate_size=100, vision_use_head=False)
        )
    )
    state = {name.removeprefix("vision_model."): each for name, each in model.state_dict().items()}
    found = rename(state, "encoder.layers.", CLIP_NAMES) | {
        "patch_embed.proj.weight": state["embeddings.patch_embedding.weight"],
        "patch_embed.proj.bias": state["embeddings.patch_embedding.bias"],
        "pos_embed": state["embeddings.position_embedding.weight"][None],
        "attn_pool.latent": torch.ones(1, 1, 48),
    }
    return model, found, "vit_so400m_patch14_siglip_224"


def clip() -> tuple[nn.Module, dict[str, Tensor], str]:
    settings = SETTINGS | {"hidden_act": "quick_gelu"}
    model = randomised(CLIPVisionModel(CLIPVisionConfig(**settings, num_attention_heads=16, intermediate_size=100)))
    state = {name.removeprefix("vision_model."): each for name, each in model.state_dict().items()}
    found = rename(state, "encoder.layers.", CLIP_NAMES) | {
        "patch_embed.proj.weight": state["embeddings.patch_embedding.weight"],
        "cls_token": state["embeddings.class_embedding"][None, None],
        "pos_embed": state["embeddings.position_embedding.weight"][None],
        "norm_pre.weight": state["pre_layrnorm.weight"],
        "norm_pre.bias": state["pre_layrnorm.bias"],
    }
    return model, found, "vit_large_patch14_clip_224.openai"


def vit() -> tuple[nn.Module, dict[str, Tensor], str]:
    settings = SETTINGS | {"num_attention_heads": 3, "intermediate_size": 100, "layer_norm_eps": 1e-6}
    model = randomised(ViTModel(ViTConfig(**settings), add_pooling_layer=False))
    state = model.state_dict()
    return model, rename(state, "layers.", VIT_NAMES) | embeddings(state), "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def dinov2(registers: int) -> tuple[nn.Module, dict[str, Tensor], str]:
    settings = SETTINGS | {"num_attention_heads": 6, "mlp_ratio": 4}
    if registers:
        made: nn.Module = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**settings, num_register_tokens=registers))
    else:
        made = Dinov2Model(Dinov2Config(**settings))
    model = randomised(made)
    state = model.state_dict()
    found = rename(state, "encoder.layer.", DINO_NAMES) | embeddings(state)
    for number in range(3):
        for index in (1, 2):
            found[f"blocks.{number}.ls{index}.scale_factor"] = state[
                f"encoder.layer.{number}.layer_scale{index}.lambda1"
            ]
    if registers:  # timm keeps positions for the patches alone; the class token's is added to it once and for all
        found["cls_token"] = found["cls_token"] + found["pos_embed"][:, :1]
        found["pos_embed"] = found["pos_embed"][:, 1:]
        found["reg_token"] = state["embeddings.register_tokens"]
    return model, found, f"vit_small_patch14_reg{registers}_dinov2" if registers else "vit_small_patch14_dinov2"


def embeddings(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        "patch_embed.proj.weight": state["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": state["embeddings.patch_embeddings.projection.bias"],
        "cls_token": state["embeddings.cls_token"],
        "pos_embed": state["embeddings.position_embeddings"],
    }


CLIP_NAMES = {
    "norm1": "layer_norm1",
    "attn.qkv": "self_attn.q_proj+self_attn.k_proj+self_attn.v_proj",
    "attn.proj": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
VIT_NAMES = CLIP_NAMES | {
    "norm1": "layernorm_before",
    "attn.qkv": "attention.q_proj+attention.k_proj+attention.v_proj",
    "attn.proj": "attention.o_proj",
    "norm2": "layernorm_after",
}
DINO_NAMES = VIT_NAMES | {"norm1": "norm1", "norm2": "norm2"}
TOWERS: Mapping[str, tuple[Callable[[], tuple[nn.Module, dict[str, Tensor], str]], str | None]] = {
    "siglip": (siglip, None),
    "clip": (clip, "quick_gelu"),
    "vit": (vit, None),
    "dinov2 with registers": (lambda: dinov2(4), None),
    "dinov2": (lambda: dinov2(0), None),
}


def stored(folder: Path, tensors: Mapping[str, Tensor]) -> CheckpointFiles:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    save_file(
        {PREFIX + name: each.detach().contiguous().clone() for name, each in tensors.items()},
        folder / "model.safetensors",
    )
    return CheckpointFiles.open(folder)


def load(files: CheckpointFiles, model_id: str, activation: str | None = None, image: int = 56) -> TimmViT:
    shape = read_vit_shape(files.tensors(), PREFIX, model_id, image, activation)
    tower = without_weights(lambda: TimmViT(shape))
    weights = Weights(files)
    fill(tower, weights, tower.places(weights.stored), shape.unused)
    return tower.eval()


@pytest.mark.slow
@pytest.mark.parametrize("kind", TOWERS)
def test_features_and_rows_equal_those_of_transformers(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, activation = TOWERS[kind]
    reference, tensors, model_id = build()
    tower = load(stored(tmp_path, tensors), model_id, activation)
    assert len(tower.blocks) == 2, "the last block is not built"
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    sites = attention_sites(tower, {"vision": r"^blocks\.(\d+)\.attn$"})
    collector = RowCollector(sites, {"vision": None})
    with torch.inference_mode(), collecting(collector):
        found = tower(pixels)
    with torch.inference_mode():
        expected = reference(pixels, output_hidden_states=True, output_attentions=True)
    special = len(tower.shape.special)
    np.testing.assert_allclose(found, expected.hidden_states[-2][:, special:], rtol=1e-5, atol=5e-5)
    assert expected.hidden_states[-2].std() > 0.1
    maps = np.stack([each[0] for each in expected.attentions[:2]])
    rows = collector.weights("vision", special + 16)
    np.testing.assert_allclose(rows, maps, atol=1e-5)
    assert rows.std(-1).max() > 0.02, "flat maps would agree with anything"


def test_gamma_is_another_name_of_the_layer_scale(tmp_path: Path) -> None:
    _, tensors, model_id = dinov2(4)
    renamed = {name.replace("scale_factor", "gamma"): each for name, each in tensors.items()}
    one, other = load(stored(tmp_path / "a", tensors), model_id), load(stored(tmp_path / "b", renamed), model_id)
    pixels = torch.randn(1, 3, 56, 56)
    with torch.inference_mode():
        torch.testing.assert_close(one(pixels), other(pixels), rtol=0, atol=0)


def test_a_rest_that_fills_no_patch_is_not_looked_at(tmp_path: Path) -> None:
    _, tensors, model_id = siglip()
    tower = load(stored(tmp_path, tensors), model_id, image=60)
    pixels = torch.randn(1, 3, 60, 60)
    with torch.inference_mode():
        torch.testing.assert_close(tower(pixels), tower(pixels[:, :, :56, :56]))


LOST = (
    "cls_token reg_token pos_embed patch_embed.proj.weight patch_embed.proj.bias blocks.1.attn.qkv.bias "
    "blocks.0.ls1.scale_factor blocks.1.ls2.scale_factor blocks.0.norm2.weight blocks.0.mlp.fc1.weight"
)


@pytest.mark.slow
@pytest.mark.parametrize("lost", LOST.split())
def test_a_lost_tensor_is_named(lost: str, tmp_path: Path) -> None:
    _, tensors, model_id = dinov2(4)
    files = stored(tmp_path, {name: each for name, each in tensors.items() if name != lost})
    with pytest.raises(UserError, match=rf"lack the tensor ({PREFIX})?{lost}"):
        load(files, model_id)


def test_a_tensor_too_many_is_named(tmp_path: Path) -> None:
    _, tensors, model_id = dinov2(4)
    files = stored(tmp_path, tensors | {"blocks.1.attn.q_norm.weight": torch.ones(8)})
    with pytest.raises(UserError, match=r"blocks\.1\.attn\.q_norm\.weight, which belongs nowhere"):
        load(files, model_id)


def test_a_misshapen_tensor_is_named(tmp_path: Path) -> None:
    _, tensors, model_id = dinov2(4)
    files = stored(tmp_path, tensors | {"blocks.1.norm1.weight": torch.ones(47)})
    with pytest.raises(UserError, match=r"blocks\.1\.norm1\.weight has shape \[47\].*\[48\]"):
        load(files, model_id)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": 70},
            r"pos_embed has 16 positions; images of 70 pixels in patches of 14 make 25, with 5 prefix tokens",
        ),
        ({"model_id": "vit_enormous_patch14_dinov2"}, "whose number of attention heads is not known"),
        ({"model_id": "resnet50"}, "whose number of attention heads is not known"),
        (
            {"model_id": "vit_large_patch14_reg4_dinov2", "width": 40},
            "16 attention heads, which do not divide its width",
        ),
        ({"activation": "mish"}, "'mish'; the activations known here are gelu"),
    ],
)
def test_what_does_not_fit_is_said(change: dict, message: str, tmp_path: Path) -> None:
    _, tensors, model_id = dinov2(4)
    if width := change.pop("width", None):
        tensors["patch_embed.proj.weight"] = tensors["patch_embed.proj.weight"][:width]
    settings = {"model_id": model_id} | change
    with pytest.raises(UserError, match=message):
        load(stored(tmp_path, tensors), **settings)
