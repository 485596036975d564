"""Curves of fine-tuning runs, finished or under way."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from analysis.checkpoint_facts import family_title
from analysis.finetuning.training_runs import TrainingRun, training_runs
from analysis.pictures.provenance import Model, Provenance
from app import figures_training, library
from app.components import chart_export
from app.plain_text import plain

MANY = 8  # runs that are laid over each other at first
PLOTS = (
    ("action_loss", "L action, nats a token", False),
    ("reasoning_loss", "L reasoning, nats a token", False),
    ("loss", "L = L action + lambda · L reasoning", False),
    ("grad_norm", "norm of the gradient", True),
    ("learning_rate", "learning rate", False),
)


def show() -> None:
    """Draws the page; it reads the curves again while runs are under way."""
    st.markdown("#### Training runs")
    st.fragment(_draw, run_every=10.0)()


def _draw() -> None:
    runs = training_runs(library.current().workspace.checkpoint_paths)
    for run in runs:
        if run.problem:
            st.warning(plain(run.problem))
    found = {run.name: run for run in runs if not run.problem}
    if not found:
        st.info(
            "No training run is below this workspace's checkpoint folders. `python -m analysis finetune CHECKPOINT "
            "EPISODES --out FOLDER` makes one of a SpatialVLA, OpenVLA, ECoT or action-token PaliGemma checkpoint; "
            "give it a folder in one of those."
        )
        return
    names = st.multiselect("Runs", list(found), default=list(found)[-MANY:], key="training_runs")
    shown = {name: found[name] for name in names}
    if not shown:
        st.info("Choose a run to see its curves.")
        return
    about = Provenance(
        "Fine-tuning runs",
        f"Training runs {', '.join(f'{name} at {run.path}' for name, run in shown.items())}",
        samples="; ".join(f"{name}: {run.steps[0]:,} of {run.steps[1]:,} steps" for name, run in shown.items()),
        models=tuple(Model(f"base of {name}", run.base or "not known") for name, run in shown.items()),
        settings={name: dict(run.settings) for name, run in shown.items()},
    )
    chart_export.table([_row(run) for run in shown.values()], about, "training_table")
    columns = st.columns(2)
    for number, (value, title, log) in enumerate(PLOTS):
        lines = {name: run.lines for name, run in shown.items()}
        figure = figures_training.curves(lines, value, title, log)
        points = partial(figures_training.points, lines, value)
        with columns[number % 2]:
            chart_export.chart(figure, points, replace(about, title=f"Fine-tuning: {title}"), f"training_{value}")


def _row(run: TrainingRun) -> dict[str, object]:
    done, total = run.steps
    settings, last = run.settings, run.lines[-1] if run.lines else {}
    return {
        "run": run.name,
        "base": family_title(run.family) if run.family else None,
        "state": "finished" if run.finished else "under way or stopped",
        "steps": f"{done:,} of {total:,}",
        "lambda": settings.get("reasoning_weight"),
        "order": settings.get("order"),
        "mode": settings.get("mode"),
        "frozen layers": settings.get("frozen_layers"),
        "batch": settings.get("batch"),
        "seed": settings.get("seed"),
        "L action": last.get("action_loss"),
        "L reasoning": last.get("reasoning_loss"),
    }
