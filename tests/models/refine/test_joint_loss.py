import math

import pytest
import torch

from models.errors import UserError
from models.refine.joint_loss import joint_loss


def _scores(*probabilities: list[float]) -> torch.Tensor:
    return torch.tensor([list(probabilities)]).log()


ACTION = torch.tensor([[False, True, True, False]])
WORDS = torch.tensor([[True, False, False, False]])
LOGITS = _scores([0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [1 / 3] * 3)
TARGETS = torch.tensor([[1, 1, 0, 2]])


def test_joint_loss_is_action_plus_lambda_times_reasoning() -> None:
    loss = joint_loss(LOGITS, TARGETS, ACTION, WORDS, 0.3)
    assert loss.action.item() == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)
    assert loss.reasoning.item() == pytest.approx(-math.log(0.25))
    assert loss.total.item() == pytest.approx(loss.action.item() + 0.3 * loss.reasoning.item())


def test_soft_labels_replace_the_action_targets() -> None:
    soft = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    loss = joint_loss(LOGITS, TARGETS, ACTION, WORDS, 1.0, soft)
    assert loss.action.item() == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)
    assert loss.reasoning.item() == pytest.approx(-math.log(0.25))


def test_lambda_zero_gives_the_words_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    joint_loss(logits, TARGETS, ACTION, WORDS, 0.0).total.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].abs().sum() == 0
    assert logits.grad[0, 1].abs().sum() > 0


def test_without_rationales_the_reasoning_loss_is_zero() -> None:
    loss = joint_loss(LOGITS, TARGETS, ACTION, torch.zeros_like(WORDS), 0.3)
    assert loss.reasoning.item() == 0
    assert loss.total.item() == pytest.approx(loss.action.item())


def test_negative_lambda_is_refused() -> None:
    with pytest.raises(UserError, match=r"lambda.*-1"):
        joint_loss(LOGITS, TARGETS, ACTION, WORDS, -1)
