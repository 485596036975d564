"""Where a policy looked at a step, out of a stored run."""

from __future__ import annotations

import pytest

from app.library import Library
from app.review_items import looked
from models.types import CheckpointSpec
from tests.browser.world import SIZE


@pytest.mark.slow
def test_a_stored_run_says_where_its_policy_looked(library: Library, dataset: str) -> None:
    found = looked(library, library.episode(dataset, "good"), 2, "")
    assert found is not None
    (one,) = found["maps"]
    assert (one["camera"], one["rows"], one["columns"], one["box"]) == ("shoulder", 8, 8, [0, 0, SIZE, SIZE])
    assert len(one["weights"]) == 64 and 0 < sum(one["weights"]) < 1
    assert found["words"] == 60 and found["name"] == "tuned"


def test_the_map_is_the_mean_over_layers_heads_and_words(library: Library, dataset: str) -> None:
    episode = library.episode(dataset, "good")
    (tuned, *_) = [
        spec for spec in library.workspace.checkpoints() if isinstance(spec, CheckpointSpec) and spec.name == "tuned"
    ]
    runs = library.workspace.records.runs(episode.meta.digest, tuned.digest)  # other tests may have added some
    run = next(one for one in runs if one.key.method == "predict" and one.step_path(2).exists())
    record = run.read(2).attention[0]
    words = [index for index, query in enumerate(record.queries) if 78 <= query < 138]  # 60 of them, one before each
    by_hand = record.weights[:, :, words, :64].astype("f8").mean(axis=(0, 1, 2))
    found = looked(library, episode, 2, run.address)
    assert found is not None and found["maps"][0]["weights"] == pytest.approx(by_hand.tolist(), rel=1e-3)


def test_a_step_that_nobody_ran_has_no_map(library: Library, dataset: str) -> None:
    assert looked(library, library.episode(dataset, "long"), 0, "") is None
    assert looked(library, library.episode(dataset, "good"), 99, "") is None
