"""When the decision is formed: what each layer would already say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.evidence.moment import Moment
from analysis.evidence.probe import Values
from analysis.metrics.divergence import jensen_shannon
from analysis.records import Setting
from models.policy import LayerReadable, Policy


@dataclass(frozen=True)
class LensProbe:
    """The action lens, averaged over action tokens: the policy's own final norm and head on every layer's state.

    ``lens LAYER to last``: Jensen-Shannon divergence of the layer's odds of the bins from the last layer's, bits.
    ``lens LAYER agrees``: share of action tokens whose likeliest bin is already the last layer's.
    ``lens LAYER mass``: probability that all bins together have, of the whole vocabulary.
    ``lens decided``: the first layer from which on the likeliest bins of all action tokens are the last layer's.
    """

    name: ClassVar[str] = "lens"
    version: ClassVar[int] = 1

    def why_not(self, policy: Policy) -> str | None:
        if isinstance(policy, LayerReadable):
            return None
        return f"{policy.info.name} is of a family whose layers cannot be read one by one, or has no action tokens"

    def settings(self) -> dict[str, Setting]:
        return {}

    def __call__(self, moment: Moment) -> Values:
        policy, answer = moment.policy, moment.answer
        if not isinstance(policy, LayerReadable) or not answer.action_distribution:
            return {}
        layers = policy.action_lens(moment.observation, answer)
        last = [entry.probabilities for entry in layers[-1]]
        values: Values = {}
        agree = []
        for layer, told in enumerate(layers):
            same = [int(e.probabilities.argmax() == final.argmax()) for e, final in zip(told, last, strict=True)]
            apart = [float(jensen_shannon(e.probabilities, final)) for e, final in zip(told, last, strict=True)]
            values[f"lens {layer} to last"] = float(np.mean(apart))
            values[f"lens {layer} agrees"] = float(np.mean(same))
            values[f"lens {layer} mass"] = float(np.mean([entry.mass for entry in told]))
            agree.append(all(same))
        undecided = [layer for layer, all_same in enumerate(agree) if not all_same]
        return values | {"lens decided": float(max(undecided, default=-1) + 1)}
