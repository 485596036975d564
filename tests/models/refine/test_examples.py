import pytest

from models.errors import UserError
from models.refine.examples import Example, Order, collate

LONG = Example(prompt=[9, 8, 7], rationale=[1, 2], action=[5, 6])
SHORT = Example(prompt=[9], rationale=[3], action=[5])


def test_targets_speak_of_the_following_token() -> None:
    batch = collate([LONG, SHORT], Order.REASON_FIRST, pad=0)
    assert batch.ids.tolist() == [[9, 8, 7, 1, 2, 5, 6], [9, 3, 5, 0, 0, 0, 0]]
    assert batch.suffix.tolist() == [[0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 1]]
    assert batch.targets[batch.is_reasoning].tolist() == [1, 2, 3]
    assert batch.targets[batch.is_action].tolist() == [5, 6, 5]
    assert batch.is_reasoning[0].nonzero().flatten().tolist() == [2, 3]


def test_order_is_a_choice() -> None:
    assert collate([LONG], Order.ACT_FIRST, 0).ids.tolist() == [[9, 8, 7, 5, 6, 1, 2]]
    only = collate([LONG], Order.ACT_ONLY, 0)
    assert only.ids.tolist() == [[9, 8, 7, 5, 6]]
    assert not only.is_reasoning.any()


def test_a_missing_rationale_is_named_before_training() -> None:
    silent = Example([9], [], [5])
    with pytest.raises(UserError, match="no rationale"):
        collate([silent], Order.REASON_FIRST, 0)
    assert collate([silent], Order.ACT_ONLY, 0).ids.tolist() == [[9, 5]]


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(UserError, match="at least one"):
        collate([], Order.ACT_ONLY, 0)
