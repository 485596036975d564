"""``python -m analysis intervene``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from analysis.attribution.features import Fill
from analysis.commands.options import (
    WORKSPACE,
    ActionStats,
    AsJson,
    Base,
    Cameras,
    CheckpointPath,
    Device,
    Dtype,
    EpisodeId,
    EpisodePath,
    Family,
    InWorkspace,
    Opening,
    OutFile,
    Steps,
    cameras_of,
    check_steps,
    for_episodes,
    open_episode,
    open_policy,
    parse_steps,
    print_values,
)
from analysis.interventions import image_edits, instruction_edits, rationale_edits
from analysis.interventions.chart import effect_chart, effect_provenance
from analysis.interventions.effect import Effect, effect_values
from analysis.interventions.in_world import consequence, consequence_values, scenes_of
from analysis.interventions.intervene import intervene as ask_both
from analysis.interventions.knock_outs import parse_head, parse_route
from analysis.interventions.question import Intervention, situation
from analysis.interventions.registry import from_text
from analysis.pictures.chart_files import check_ending, write_chart
from analysis.records import Setting
from analysis.running import Running
from models.errors import UserError

MaskObject = Annotated[list[str] | None, typer.Option(help="hide this object by its mask or box; may be repeated")]
MaskPatches = Annotated[list[str] | None, typer.Option(help="hide patches by number, as in 3,4 or wrist:3,4")]
MaskBox = Annotated[list[str] | None, typer.Option(help="hide a box, as in 10,20,60,80 or wrist:10,20,60,80 (pixels)")]
FillOption = Annotated[str, typer.Option(help=f"what hidden pixels become: {', '.join(get_args(Fill))}")]
RouteOption = Annotated[
    list[str] | None,
    typer.Option(
        "--knock-out",
        help="as in action->image@0-3 (layers), action->image:wrist@2#0,5 (camera, heads), action->rationale:planning",
    ),
]
HeadOption = Annotated[list[str] | None, typer.Option("--knock-out-head", help="layer.head as in 2.5, expert:2.5")]


def intervene(
    checkpoint: CheckpointPath,
    episode: EpisodePath,
    id: EpisodeId = None,
    steps: Steps = None,
    mask_object: MaskObject = None,
    mask_patches: MaskPatches = None,
    mask_box: MaskBox = None,
    mask_image: Annotated[bool, typer.Option("--mask-image", help="hide every image")] = False,
    fill: FillOption = "mean",
    instruction: Annotated[str | None, typer.Option(help="own words")] = None,
    instruction_blank: Annotated[bool, typer.Option("--instruction-blank")] = False,
    instruction_shuffled: Annotated[bool, typer.Option("--instruction-shuffled")] = False,
    instruction_object: Annotated[
        str | None, typer.Option(help="ask for this object instead; 'any' for another in view")
    ] = None,
    instruction_negated: Annotated[bool, typer.Option("--instruction-negated")] = False,
    instruction_paraphrased: Annotated[bool, typer.Option("--instruction-paraphrased")] = False,
    rationale: Annotated[str | None, typer.Option(help="own words, forced before the action")] = None,
    rationale_drop: Annotated[list[str] | None, typer.Option(help="leave out this part")] = None,
    rationale_swap: Annotated[list[str] | None, typer.Option(help="swap two words, as in left,right")] = None,
    rationale_shuffled: Annotated[str | None, typer.Option(help="words or sentences")] = None,
    rationale_random: Annotated[int | None, typer.Option(help="replace so many words at random")] = None,
    rationale_step: Annotated[int | None, typer.Option(help="what the policy says at this other step")] = None,
    rationale_episode: Annotated[str | None, typer.Option(help="id of the episode of --rationale-step")] = None,
    knock_out: RouteOption = None,
    knock_out_head: HeadOption = None,
    edits: Annotated[str | None, typer.Option(help="JSON as in a link of the what-if page")] = None,
    seed: Annotated[int, typer.Option(help="of what is drawn at random")] = 0,
    action_stats: ActionStats = None,
    family: Family = None,
    base: Base = None,
    device: Device = "cpu",
    dtype: Dtype = None,
    camera: Cameras = None,
    workspace: InWorkspace = WORKSPACE,
    act_out: Annotated[
        int | None, typer.Option(help="also let it act in so many scenes of a simulated world, the episode's first")
    ] = None,
    world: Annotated[str, typer.Option(help="tabletop, counter, or module:class")] = "tabletop",
    rollouts: Annotated[Path, typer.Option(help="folder in which these are kept as episodes")] = Path("what-if"),
    out: OutFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask a checkpoint with and without changes of the image, the words or the attention, and print what it changes."""
    if out is not None:
        check_ending(out)
    filling = _fill(fill)
    asked: list[Intervention] = [*from_text(edits)] if edits is not None else []
    asked += [image_edits.HideObject(name, filling) for name in mask_object or ()]
    for text in mask_patches or ():
        camera_name, numbers = _placed(text, int)
        asked.append(image_edits.HidePatches(camera_name, tuple(int(number) for number in numbers), filling))
    asked += [_box(text, filling) for text in mask_box or ()]
    asked += [image_edits.HideImage("", filling)] if mask_image else []
    asked += [instruction_edits.OwnInstruction(instruction)] if instruction is not None else []
    asked += [instruction_edits.OtherObject(other=instruction_object.removeprefix("any"))] if instruction_object else []
    asked += [instruction_edits.ParaphrasedInstruction()] if instruction_paraphrased else []
    asked += [instruction_edits.NegatedInstruction()] if instruction_negated else []
    asked += [instruction_edits.ShuffledInstruction(seed)] if instruction_shuffled else []
    asked += [instruction_edits.BlankInstruction()] if instruction_blank else []
    asked += [rationale_edits.OtherRationale(rationale_step, rationale_episode)] if rationale_step is not None else []
    asked += [rationale_edits.OwnRationale({"text": rationale})] if rationale is not None else []
    asked += [_swap(text) for text in rationale_swap or ()]
    asked += [rationale_edits.DropPart(part) for part in rationale_drop or ()]
    asked += [_shuffle(rationale_shuffled, seed)] if rationale_shuffled is not None else []
    asked += [rationale_edits.RandomWords(rationale_random, seed)] if rationale_random is not None else []
    asked += [parse_route(text) for text in knock_out or ()]
    asked += [parse_head(text) for text in knock_out_head or ()]
    if rationale_episode is not None and rationale_step is None:
        raise UserError("--rationale-episode needs --rationale-step: at which of its steps")
    if not asked:
        raise UserError("there is nothing to change: name at least one change, such as --mask-object or --knock-out")
    opened = open_episode(episode, id, workspace)
    wanted = parse_steps(steps, opened.meta.length)
    if out is not None:
        check_steps(out, wanted)
    opening = for_episodes(Opening(checkpoint, action_stats, family, base, Running(device, dtype)), opened)
    policy = open_policy(opening)
    cameras = cameras_of(policy, opened, camera)
    elsewhere = partial(open_episode, episode, workspace=workspace)
    said: list[dict[str, Any]] = []
    effects: dict[int, Effect] = {}
    for step in wanted:
        here = situation(policy, opened, opened.step(step), cameras, other=elsewhere)
        found = ask_both(policy, here, asked)
        effects[step] = found
        values = {"step": step} | effect_values(found)
        said.append(values)
        if not as_json:
            print_values(values, as_json, _text(step, found))
    if out is not None:
        opened_as: dict[str, Setting] = {
            "action statistics": opening.action_stats,
            "family": family,
            "number type": opening.running.recorded_number_type(policy.info),
            "cameras": ", ".join(cameras.chosen),
        }
        write_chart(effect_chart(effects, effect_provenance(policy.info, opened.meta, effects, opened_as)), out)
    led: dict[str, Any] = {}
    if act_out is not None:
        changes = rationale_edits.spelled_out(asked, here)
        found_there = consequence(policy, scenes_of(opened.meta, world, act_out), changes, rollouts)
        led = {"acted_out": consequence_values(found_there)}
        if not as_json:
            print_values(led["acted_out"], as_json)
    if as_json:
        print_values({"checkpoint": policy.info.digest, "episode": opened.meta.digest, "steps": said} | led, as_json)


def _fill(text: str) -> Fill:
    for known in get_args(Fill):
        if text == known:
            return known
    raise UserError(f"--fill is {text!r}; it can be {', '.join(get_args(Fill))}")


def _placed(text: str, kind: type[int] | type[float]) -> tuple[str, tuple[float, ...]]:
    """``camera:1,2`` or ``1,2``."""
    camera, _, numbers = text.rpartition(":")
    try:
        return camera, tuple(kind(number) for number in numbers.split(","))
    except ValueError:
        raise UserError(f"{text!r} is no list of numbers; write it as in 3,4 or camera:3,4") from None


def _box(text: str, fill: Fill) -> image_edits.HideBox:
    camera, edges = _placed(text, float)
    if len(edges) != 4:
        raise UserError(f"{text!r} has {len(edges)} numbers; a box has left, top, right, bottom in pixels")
    return image_edits.HideBox(camera, (edges[0], edges[1], edges[2], edges[3]), fill)


def _swap(text: str) -> rationale_edits.SwapWords:
    one, comma, other = (piece.strip() for piece in text.partition(","))
    if not comma or not one or not other:
        raise UserError(f"{text!r} names no two words; write them as in left,right")
    return rationale_edits.SwapWords(one, other)


def _shuffle(what: str, seed: int) -> Intervention:
    if what == "words":
        return rationale_edits.ShuffleWords(seed)
    if what == "sentences":
        return rationale_edits.ShuffleSentences(seed)
    raise UserError(f"--rationale-shuffled is {what!r}; it can be words or sentences")


def _text(step: int, effect: Effect) -> str:
    before, after = effect.before, effect.after
    lines = [f"step {step}: {'; '.join(effect.edits)}"]
    for column, (name, unit) in enumerate(zip(before.action_names, before.action_units, strict=True)):
        for row in range(len(effect.change)):
            number = f"[{row}] " if len(effect.change) > 1 else ""
            one, other = before.actions[row, column], after.actions[row, column]
            bits = [each.bits for each in effect.divergences if (each.step, each.name) == (row, name)]
            odds = f"   JS {bits[0]:.3f} bit" if bits else ""
            lines.append(f"  {number}{name:>10} [{unit}]  {one:+.4f} -> {other:+.4f}   {other - one:+.4f}{odds}")
    if len(effect.change) > 1:
        named = zip(before.action_names, before.action_units, effect.distance, strict=True)
        lines.append("  mean |change| of the chunk: " + ", ".join(f"{n} {far:.4f} {unit}" for n, unit, far in named))
    if effect.divergences:
        lines.append(f"  mean Jensen-Shannon divergence {effect.mean_bits:.3f} bit")
    if before.text or after.text:
        lines += [
            f"  said before: {before.text}",
            f"  said after:  {after.text if effect.text_changed else '(the same)'}",
        ]
    return "\n".join([*lines, *([f"  note: {effect.note}"] if effect.note else [])])
