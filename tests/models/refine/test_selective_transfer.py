from pathlib import Path

import pytest
import torch
from transformers import PaliGemmaForConditionalGeneration

from models.errors import UserError
from models.refine.paligemma_learner import paligemma_parts
from models.refine.selective_transfer import freeze_lower, untie_head


@pytest.fixture
def model(tiny_base: Path) -> PaliGemmaForConditionalGeneration:
    return PaliGemmaForConditionalGeneration.from_pretrained(tiny_base, dtype=torch.float32)


def test_only_upper_layers_and_the_head_train(model: PaliGemmaForConditionalGeneration) -> None:
    untie_head(paligemma_parts(model))
    transfer = freeze_lower(paligemma_parts(model), 2)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all(
        "layers.2." in name or name == "lm_head.weight" or name.endswith("language_model.norm.weight")
        for name in trained
    )
    assert transfer.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert transfer.frozen > 0
    assert transfer.layers == 3


def test_a_step_of_training_leaves_the_frozen_part_alone(model: PaliGemmaForConditionalGeneration) -> None:
    untie_head(paligemma_parts(model))
    freeze_lower(paligemma_parts(model), 1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    ids = torch.tensor([[5, 6, 7, 8]])
    model.lm_head(model.model.language_model(ids).last_hidden_state).square().sum().backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(before[name], parameter)}
    assert "lm_head.weight" in changed
    assert "model.language_model.embed_tokens.weight" not in changed
    assert not any("layers.0." in name for name in changed if "language_model" in name)


def test_more_layers_than_there_are(model: PaliGemmaForConditionalGeneration) -> None:
    untie_head(paligemma_parts(model))
    with pytest.raises(UserError, match="4 decoder layers are to be frozen; this model has 3"):
        freeze_lower(paligemma_parts(model), 4)


def test_a_tied_head_is_refused(model: PaliGemmaForConditionalGeneration) -> None:
    with pytest.raises(UserError, match="untie_head"):
        freeze_lower(paligemma_parts(model), 1)
