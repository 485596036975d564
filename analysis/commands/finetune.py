"""``python -m analysis finetune``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from analysis.commands.options import ActionStats, AsJson, Base, CheckpointPath, Family, print_values
from analysis.commands.review_options import HERE, Least, RuleName, WorkspacePath, find_project, open_workspace

Share = Annotated[float, typer.Option(help="from 0 to 1")]
SHORT = {"reason-first": "rationale first", "act-first": "action first", "act-only": "action only"}


def finetune(
    checkpoint: CheckpointPath,
    episodes: Annotated[list[Path], typer.Argument(help="files or folders of episodes", metavar="EPISODES...")],
    out: Annotated[Path, typer.Option(help="new folder for the tuned checkpoint; the same again resumes")],
    rationales: Annotated[
        list[Path] | None, typer.Option(help="JSON lines of annotate or of reviewers; else the episodes' own")
    ] = None,
    reviewed: Annotated[
        str | None, typer.Option(help="review project: its accepted and corrected rationales, and no others")
    ] = None,
    review_rule: RuleName = "majority",
    least: Least = 1,
    workspace: WorkspacePath = HERE,
    weight: Annotated[float, typer.Option("--lambda", help="weight of the reasoning loss")] = 0.3,
    order: Annotated[str, typer.Option(help="reason-first, act-first or act-only")] = "reason-first",
    mode: Annotated[str, typer.Option(help="selective, full or lora")] = "selective",
    frozen_layers: Annotated[
        int | None, typer.Option(help="lower decoder layers that stay as they are; 2, of full fine-tuning 0")
    ] = None,
    train_vision: Annotated[bool, typer.Option("--train-vision", help="also the vision tower")] = False,
    train_embeddings: Annotated[bool, typer.Option("--train-embeddings", help="also the embeddings")] = False,
    lora_rank: int = 16,
    lora_alpha: int = 32,
    steps: Annotated[int, typer.Option(help="of the optimizer")] = 1000,
    batch: Annotated[int, typer.Option(help="examples a step, over all processes")] = 32,
    accumulate: Annotated[int, typer.Option(help="forwards a step, to save memory")] = 1,
    learning_rate: float = 1e-4,
    warm_up: Annotated[int, typer.Option(help="steps")] = 80,
    soft_bins: Annotated[float, typer.Option(help="spread of soft action labels in bins; 0: none")] = 0,
    noisy_actions: Annotated[float, typer.Option(help="share of read action tokens made random")] = 0,
    precision: Annotated[str, typer.Option(help="of the forward: float32 or bfloat16")] = "float32",
    seed: int = 0,
    save_every: Annotated[int, typer.Option(help="steps between saved states")] = 100,
    log_every: Annotated[int, typer.Option(help="steps between points of the curves")] = 10,
    hold_out: Annotated[float, typer.Option(help="share of the episodes kept for evaluate")] = 0,
    id: Annotated[list[str] | None, typer.Option("--id", help="an episode; once for each; all if left out")] = None,
    camera: Annotated[str | None, typer.Option(help="camera that the policy sees; the first if left out")] = None,
    action_stats: ActionStats = None,
    new_stats: Annotated[str | None, typer.Option(help="name for action statistics made of these episodes")] = None,
    name: Annotated[str, typer.Option(help="what the tuned policy is called")] = "",
    save_dtype: Annotated[str | None, typer.Option(help="number type of the weights; the base's if left out")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="longest rationale that the policy may write; 1.5 times the longest if left out")
    ] = None,
    base: Base = None,
    family: Family = None,
    as_json: AsJson = False,
) -> None:
    """Teach a policy to act and to say why, by ReFineVLA's joint loss: docs/finetune.md. The same again resumes."""
    from models.errors import UserError
    from models.refine.settings import Mode, Order, TuneSettings, choice

    if save_dtype not in (None, "float32", "bfloat16", "float16"):
        raise UserError(f"the number type is {save_dtype!r}; use float32, bfloat16 or float16")
    if max_tokens is not None and max_tokens < 1:
        raise UserError(f"a rationale may have {max_tokens} tokens; it must be 1 or more")
    settings = TuneSettings(
        reasoning_weight=weight, order=choice(Order, SHORT.get(order, order), "order"), mode=choice(Mode, mode, "mode"),
        frozen_layers=(0 if mode == "full" else 2) if frozen_layers is None else frozen_layers,
        train_vision=train_vision,
        train_embeddings=train_embeddings, lora_rank=lora_rank, lora_alpha=lora_alpha, steps=steps, batch=batch,
        accumulate=accumulate, learning_rate=learning_rate, warm_up=warm_up, soft_bins=soft_bins,
        noisy_actions=noisy_actions, seed=seed, precision=precision, save_every=save_every, log_every=log_every,
    )  # fmt: skip
    given = [*(rationales or []), *([_reviewed(workspace, reviewed, review_rule, least)] if reviewed else [])]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    from analysis.finetuning.run import Request, prepare
    from analysis.finetuning.run import finetune as run

    request = Request(
        checkpoint, tuple(episodes), out, settings, tuple(given), tuple(id or ()), hold_out, camera,
        action_stats, new_stats, name, save_dtype, base, family, max_tokens,
    )  # fmt: skip
    prepared = prepare(request)
    lessons, first = prepared.lessons, int(os.environ.get("RANK", "0")) == 0
    if first:
        for one in lessons.broken:
            typer.echo(f"skipped: {one.path}: {one.reason}", err=True)
        for note in lessons.notes:
            typer.echo(f"note: {note}", err=True)
        typer.echo(
            f"{len(lessons.lessons)} steps of {len(lessons.episodes)} episodes; {len(lessons.held_out)} episodes held "
            f"out; {lessons.silent} steps without a rationale left out",
            err=True,
        )
    with tqdm(total=steps, unit="step", desc=str(out), file=sys.stderr, disable=not first) as bar:

        def progress(done: int, _: int) -> None:
            bar.update(done - bar.n)

        told = run(request, prepared, progress)
    if first:
        result = {
            "path": str(told.path), "steps": told.steps, "resumed": told.resumed, "seconds": round(told.seconds, 1),
            "trained_parameters": told.transfer.trained, "frozen_parameters": told.transfer.frozen, **told.losses,
        }  # fmt: skip
        print_values(result, as_json, short=str(told.path))


def _reviewed(workspace: Path, project: str, rule: str, least: int) -> Path:
    """A file of what people accepted or corrected."""
    from analysis.rationales.reviewed import write_reviewed
    from analysis.review.final import Rule

    opened = open_workspace(workspace)
    return write_reviewed(opened, find_project(opened.reviews, project).id, Rule(rule, least))
