"""A number that a policy's answer holds, as a function of the embeddings that its language model reads. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.attribution.target import Target, action_tokens, check_target, positions_of
from analysis.cancelled import Asked, Progress, check
from models.errors import UserError
from models.policy import ActionDifferentiable, ActionTokens, BatchScoring, Differentiable, Placing, Policy
from models.types import ActionBins, Observation, Prediction


def why_no_gradient(policy: Policy) -> str | None:
    """Why gradients cannot be had of a policy; None where they can."""
    if isinstance(policy, Differentiable | ActionDifferentiable | Placing):
        return None
    return f"{policy.info.name} offers no embeddings that its answer could be differentiated with respect to"


def why_no_single_pass(policy: Policy) -> str | None:
    """The same of methods that look into the pass of the language model which gave the answer."""
    info = policy.info
    if info.denoising_steps:
        return (
            f"{info.name} denoises its actions in {info.denoising_steps} passes, so there is no one pass to look into"
        )
    return why_no_gradient(policy)


class Explained:
    """One number of a prediction as a function of the prompt's embeddings and those of what was said before it.

    Of continuous actions it is a number of the chunk, and nothing was said before.
    Raises UserError for a policy without gradients, or a target that has no such number.
    """

    def __init__(
        self,
        policy: Policy,
        observation: Observation,
        prediction: Prediction,
        target: Target,
        progress: Progress | None = None,
        cancelled: Asked | None = None,
        forwards: int = 1,
    ):
        """``forwards``: how many there will be, for ``progress``."""
        policy = policy.placed(observation) if isinstance(policy, Placing) else policy
        if not isinstance(policy, Differentiable | ActionDifferentiable):
            raise UserError(why_no_gradient(policy) or "")
        check_target(target, prediction)
        if target.vector:
            raise UserError("a gradient explains one number; choose one action dimension or a log-probability")
        self._policy, self._observation = policy, observation
        self._prediction, self._target = prediction, target
        self._progress, self._cancelled, self._total = progress, cancelled, forwards
        self._bins = self._own_bins()
        tokens = action_tokens(target, prediction)
        if isinstance(policy, ActionDifferentiable) and target.scalar != "action":
            raise UserError(f"{policy.info.name} has no log-probabilities; choose the value of one action dimension")
        self.rows = tuple(sorted({each.token for each in self._bins} if target.scalar == "action" else set(tokens)))
        self.forwards = 0
        with torch.no_grad():
            self.prompt = self.embed(observation).detach()
            self.inputs = self._with_said(self.prompt)
        self.prompt_length = self.prompt.shape[1]

    @property
    def queries(self) -> tuple[int, ...]:
        """Positions whose rows produce the target; of a regression head all that it reads for the step."""
        if isinstance(self._policy, ActionDifferentiable):
            step = Target(step=self._target.step, scalar="action")
            return tuple(position - 1 for position in positions_of(step, self._prediction))
        return tuple(self.prompt_length - 1 + row for row in self.rows)

    def __call__(self, inputs: Float[Tensor, "B L width"]) -> Float[Tensor, " B"]:
        """The number for each sample. Raises Cancelled once that was asked for."""
        check(self._cancelled)
        values = self._values(inputs)
        self.forwards += len(inputs)
        if self._progress is not None:
            self._progress(min(self.forwards, self._total), self._total)
        return values

    def _values(self, inputs: Float[Tensor, "B L width"]) -> Float[Tensor, " B"]:
        policy, target = self._policy, self._target
        if isinstance(policy, ActionDifferentiable):
            chunks = [policy.chunk_from(self._observation, inputs[i : i + 1]) for i in range(len(inputs))]
            column = self._prediction.action_names.index(target.action)
            return torch.stack([chunk[target.step, column] for chunk in chunks])
        logprobs = self._log_probabilities(inputs)
        if self._target.scalar == "action":
            return torch.stack([self._expected(logprobs, each) for each in self._bins]).sum(dim=0)
        said = torch.as_tensor(self._prediction.tokens[list(self.rows)], device=logprobs.device)
        return logprobs.gather(2, said[None, :, None].expand(len(logprobs), -1, 1))[:, :, 0].sum(dim=1)

    def embed(self, observation: Observation) -> Float[Tensor, "1 P width"]:
        """Another prompt of the same length, as the policy reads it."""
        return self._policy.embed(observation)

    def batch_limit(self) -> int:
        """Samples that a forward and its backward have memory for at once."""
        if not isinstance(self._policy, BatchScoring):
            return 1
        # a backward keeps what a forward lets go of, in every layer
        limit = self._policy.batch_limit(self.inputs.shape[1], len(self.rows))
        return max(1, limit // max(self._policy.info.layers // 2, 1)) if limit < 32 else 8

    def scores(self, found: Float[Tensor, " L"]) -> Float[np.ndarray, " K"]:
        """Laid out over the whole sequence; what was written later has no part in the target."""
        whole = np.zeros(len(self._prediction.layout.tokens))
        whole[: len(found)] = found.detach().double().cpu().numpy()
        return whole

    def _with_said(self, prompt: Float[Tensor, "1 P width"]) -> Float[Tensor, "1 L width"]:
        if not isinstance(self._policy, BatchScoring):  # nor were there words before a continuous action
            return prompt
        words = self._policy.embed_words(self._prediction.tokens[: max(self.rows)].tolist())
        return torch.cat([prompt, words.to(prompt.dtype)], dim=1).detach()

    def _log_probabilities(self, inputs: Float[Tensor, "B L width"]) -> Float[Tensor, "B R V"]:
        policy, prompt = self._policy, self.prompt_length
        if isinstance(policy, BatchScoring):
            return policy.batch_log_probabilities(inputs[:, :prompt], inputs[:, prompt:], self.rows)
        assert isinstance(policy, Differentiable)
        tokens = self._prediction.tokens.tolist()
        each = [policy.log_probabilities(inputs[i : i + 1], tokens)[list(self.rows)] for i in range(len(inputs))]
        return torch.stack(each)

    def _expected(self, logprobs: Float[Tensor, "B R V"], bins: ActionBins) -> Float[Tensor, " B"]:
        own = logprobs[:, self.rows.index(bins.token)][
            :, torch.from_numpy(np.ascontiguousarray(bins.ids)).to(logprobs.device)
        ]
        values = torch.as_tensor(bins.values, device=logprobs.device, dtype=torch.float32)
        return torch.softmax(own.float(), dim=1) @ values

    def _own_bins(self) -> Sequence[ActionBins]:
        target = self._target
        if target.scalar != "action" or isinstance(self._policy, ActionDifferentiable):
            return ()
        if not isinstance(self._policy, ActionTokens):
            raise UserError(f"{self._policy.info.name} does not say which tokens stand for which action values")
        told = self._policy.action_bins(self._prediction)
        if target.tokens:
            found = [each for each in told if each.token in target.tokens]
        else:
            found = [each for each in told if (each.step, each.name) == (target.step, target.action)]
        if not found:
            raise UserError(f"{target.text} is no action token and stands for no value; explain its log-probability")
        return found


def gradient(explained: Explained, inputs: Float[Tensor, "1 L width"]) -> tuple[Tensor, float]:
    """d value / d inputs, and the value. No gradient reaches the weights."""
    leaf = inputs.detach().requires_grad_(True)
    value = explained(leaf)[0]
    (slope,) = torch.autograd.grad(value, leaf)
    return slope, float(value.detach())
