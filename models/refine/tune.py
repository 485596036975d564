"""One fine-tuning run, from a checkpoint folder to another, resumable after a kill at any moment."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback, TrainingArguments, set_seed
from transformers.utils import logging

from models.errors import UserError
from models.families.weights import put
from models.refine.batches import Collator, Stream
from models.refine.checkpoint_writer import PROVENANCE, write_checkpoint
from models.refine.curves import FILE, CurveFile
from models.refine.demonstrations import Demonstrations
from models.refine.joint_trainer import JointTrainer
from models.refine.learner import Learner
from models.refine.selective_transfer import Transfer, add_low_rank, choose, counted
from models.refine.settings import Mode, TuneSettings

TRAINING = "training"  # folder in the checkpoint's with what only training needs
STATE, SETTINGS = "state", "settings.json"
KEPT_STATES = 2


@dataclass(frozen=True)
class Tuned:
    """What a run did."""

    path: Path  # the checkpoint
    steps: int
    resumed: int  # step that it went on from; 0: from the start
    transfer: Transfer
    losses: Mapping[str, float]  # of the last line of the curves
    seconds: float


def tune(
    learner: Learner,
    demonstrations: Demonstrations,
    settings: TuneSettings,
    out: Path,
    provenance: Mapping[str, Any],
    name: str,
    dtype: str = "bfloat16",
    progress: Callable[[int, int], None] | None = None,
) -> Tuned:
    """Train and write ``out``. Run again after a kill, it goes on from the last saved state as if nothing had happened.

    Args:
        provenance: what the checkpoint was made of; a run is resumed only if it is the same.
        dtype: number type of the written weights.
        progress: told steps done and steps in all.

    Raises:
        UserError: ``out`` holds another run, a finished checkpoint, or layers or processes do not fit.
    """
    start = time.monotonic()
    work = out / TRAINING
    plan = {"settings": settings.as_json(), "made_of": dict(provenance)}
    parts = learner.parts
    choose(parts, settings)
    parts.model._no_split_modules = parts.layer_kinds  # transformers' own lists name classes that are not there
    arguments = _arguments(settings, work)
    _claim(out, plan)
    set_seed(settings.seed)
    logging.disable_progress_bar()  # one bar for every saved state
    model = add_low_rank(parts, settings) if settings.mode is Mode.LORA else learner.model
    transfer = counted(parts, settings.frozen_layers, model)
    curves = CurveFile(work / FILE, settings.batch)
    trainer = JointTrainer(
        settings=settings,
        action_ids=learner.action_ids,
        model=model,
        args=arguments,
        train_dataset=Stream(demonstrations, learner, settings),
        data_collator=Collator(learner, settings),
        callbacks=[_Telling(curves, progress)],
    )
    trainer.remove_callback(PrinterCallback)  # what it prints stands in the curves
    state = last_state(work / STATE)
    resumed = int(state.name.rsplit("-", 1)[1]) if state is not None else 0
    if arguments.process_index == 0:
        curves.forget_after(resumed)
    trainer.train(resume_from_checkpoint=str(state) if state is not None else None)
    last: dict[str, Any] = next((line for line in reversed(trainer.state.log_history) if "action_loss" in line), {})
    told = ("loss", "action_loss", "reasoning_loss")
    losses: dict[str, float] = {key: float(last[key]) for key in told if key in last}
    _finish(trainer, out, learner, settings, provenance, name, dtype, transfer)
    return Tuned(out, trainer.state.global_step, resumed, transfer, losses, time.monotonic() - start)


def last_state(folder: Path) -> Path | None:
    """The newest whole state. One that a kill cut short is removed: Trainer writes ``trainer_state.json`` last."""
    states = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True)
    for state in states:
        try:
            json.loads((state / "trainer_state.json").read_bytes())
            return state
        except (FileNotFoundError, ValueError):
            if _first():
                shutil.rmtree(state, ignore_errors=True)
    return None


def _claim(out: Path, plan: Mapping[str, Any]) -> None:
    """Note what runs in ``out``, or see that the same was running there; the first process does so for all.

    To the others the folder that it has just made could look like another run's.
    """
    if not _first():
        return
    file = out / TRAINING / SETTINGS
    if file.exists():
        if json.loads(file.read_text(encoding="utf-8")) != json.loads(json.dumps(plan)):
            raise UserError(f"{out} holds a run with other settings or data ({file}); name another folder")
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no run to resume; name a new folder")
    if (out / "config.json").exists():
        raise UserError(f"{out} is finished already; name a new folder to train again")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    part.replace(file)


def _first() -> bool:
    """Whether this is the first of all processes, before Trainer knows them."""
    return int(os.environ.get("RANK", "0")) == 0


def _arguments(settings: TuneSettings, work: Path) -> TrainingArguments:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    share = processes * settings.accumulate
    if settings.batch % share:
        raise UserError(
            f"a batch of {settings.batch} cannot be spread evenly over {processes} processes and "
            f"{settings.accumulate} forwards; use a multiple of {share}"
        )
    log_every = min(settings.log_every, settings.save_every)
    arguments = TrainingArguments(
        output_dir=str(work / STATE),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch // share,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": settings.final_rate},
        warmup_steps=min(settings.warm_up, settings.steps),
        weight_decay=settings.weight_decay,
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=settings.clip,
        bf16=settings.precision == "bfloat16",
        seed=settings.seed,
        save_strategy="steps",
        save_steps=settings.save_every - settings.save_every % log_every,
        save_total_limit=KEPT_STATES,
        logging_steps=log_every,
        logging_nan_inf_filter=False,  # a loss that is no number must be seen
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        average_tokens_across_devices=False,  # JointTrainer counts for itself
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are for accelerate launch: one process each
    return arguments


class _Telling(TrainerCallback):
    """Writes the curves and tells progress; a loss that is no number ends the run."""

    def __init__(self, curves: CurveFile, progress: Callable[[int, int], None] | None) -> None:
        self._curves, self._progress, self._start = curves, progress, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress is not None and state.is_world_process_zero:
            self._progress(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if "action_loss" not in logs or not state.is_world_process_zero:
            return
        kept = ("loss", "action_loss", "reasoning_loss", "grad_norm", "learning_rate")
        values = {key: float(logs[key]) for key in kept if key in logs}
        self._curves.add(state.global_step, {**values, "seconds": round(time.monotonic() - self._start, 1)})
        if not all(value == value for value in values.values()):
            raise UserError(f"the loss is no number at step {state.global_step}; lower the learning rate")


def _finish(
    trainer: JointTrainer,
    out: Path,
    learner: Learner,
    settings: TuneSettings,
    provenance: Mapping[str, Any],
    name: str,
    dtype: str,
    transfer: Transfer,
) -> None:
    """The checkpoint, by the first process; sharded weights are gathered by all."""
    trained, parts = trainer.accelerator.unwrap_model(trainer.model), learner.parts
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        weights, tied = trainer.accelerator.get_state_dict(trainer.model), parts.tied
        if trainer.accelerator.is_main_process:
            for place, slot in trained.state_dict(keep_vars=True).items():  # shards take in nothing whole
                put(trained, place, weights[place], slot)
            if tied:
                parts.head.weight = parts.embeddings.weight
    if trainer.accelerator.is_main_process:
        told = {
            **provenance,
            "settings": settings.as_json(),
            "trained_parameters": transfer.trained,
            "frozen_parameters": transfer.frozen,
            "steps": trainer.state.global_step,
            "processes": trainer.accelerator.num_processes,
            "versions": _versions(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        write_checkpoint(out, learner, trained, settings, told, name, dtype)
        shutil.rmtree(out / TRAINING / STATE, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()


def _versions() -> dict[str, str]:
    import accelerate
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__, "accelerate": accelerate.__version__}


__all__ = ["PROVENANCE", "TRAINING", "Tuned", "last_state", "tune"]
