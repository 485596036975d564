"""transformers' Trainer with the joint loss. Several GPUs or machines are accelerate's business, not ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import Trainer

from models.errors import UserError
from models.refine.joint_loss import joint_loss
from models.refine.settings import TuneSettings
from models.refine.soft_labels import ActionIds, SoftLabels

WEIGHTS = "trained.safetensors"  # of a saved state


class JointTrainer(Trainer):
    """Means are over the tokens of the whole batch, whatever number of processes and forwards it is spread over."""

    def __init__(self, *, settings: TuneSettings, action_ids: Sequence[ActionIds], **given: Any) -> None:
        super().__init__(**given)
        self.model_accepts_loss_kwargs = True  # compute_loss divides by the whole batch's counts itself
        self._settings = settings
        self._soft = SoftLabels(action_ids, settings.soft_bins) if settings.soft_bins else None
        self._sums = torch.zeros(2)  # of the two losses since they were last logged
        self._since: int | None = None  # step after which they are summed up; a resumed run does not begin at 0

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        """The stream draws at random by itself."""
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor:
        """Action and reasoning tokens of one step of the optimizer, over all processes: float [2]."""
        counts = [[float(each[key].sum()) for key in ("is_action", "is_reasoning")] for each in batch_samples]
        own = torch.tensor(counts, device=device).sum(0)
        total: Tensor = self.accelerator.reduce(own, "sum")
        return total

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        targets, is_action, is_reasoning = (inputs.pop(key) for key in ("targets", "is_action", "is_reasoning"))
        first = int((is_action | is_reasoning).any(0).nonzero()[0])  # nothing before the answers has a target
        kept = targets.shape[1] - first
        output = model(**inputs, use_cache=False, logits_to_keep=kept)
        wanted = targets[:, first:][is_action[:, first:]]
        soft = self._soft(wanted, output.logits.shape[-1]) if self._soft is not None else None
        counts = None
        if num_items_in_batch is not None:
            counts = (num_items_in_batch[0].clamp(min=1), num_items_in_batch[1].clamp(min=1))
        loss = joint_loss(
            output.logits, targets[:, first:], is_action[:, first:], is_reasoning[:, first:],
            self._settings.reasoning_weight, soft, counts,
        )  # fmt: skip
        self._since = self.state.global_step if self._since is None else self._since
        self._sums += torch.stack([loss.action.detach(), loss.reasoning.detach()]).float().cpu()
        # gradients are averaged over processes, and each saw only its own part of the sum
        total = loss.total * (self.accelerator.num_processes if num_items_in_batch is not None else 1)
        return (total, output) if return_outputs else total

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """What trains, under the names that it has here.

        Trainer's own way saves published names and reads them back as if they were these: a resumed run would begin
        with the base's weights again.
        """
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        trained = dict(self.accelerator.unwrap_model(self.model).named_parameters())
        given = state_dict or {name: each.detach() for name, each in trained.items()}
        kept = {name: given[name].cpu().contiguous() for name, each in trained.items() if each.requires_grad}
        save_file(kept, folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """The way back; what is frozen is as the base has it. Sharded weights are accelerate's business."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        into = dict(self.model.named_parameters())
        stored = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        if stored.keys() != {name for name, each in into.items() if each.requires_grad}:
            raise UserError(f"{resume_from_checkpoint} was saved by a run in which other weights train")
        with torch.no_grad():
            for name, value in stored.items():
                into[name].copy_(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds both parts of the loss, each a mean over the steps since the last line."""
        if "loss" in logs:
            steps = max(1, self.state.global_step - (self._since or 0))
            sums = self.accelerator.reduce(self._sums.to(self.args.device), "sum").cpu() / steps
            logs |= {"action_loss": float(sums[0]), "reasoning_loss": float(sums[1])}
            self._sums, self._since = torch.zeros(2), self.state.global_step
        super().log(logs, start_time)
