"""``python -m analysis annotate``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Annotated, cast

import typer
from tqdm import tqdm

from analysis.commands.options import AsJson, print_values, source_at
from analysis.episodes import EpisodeSource, open_source
from models.errors import UserError
from models.teachers.teacher import Spent, TeacherSettings, make_teacher

Source = Annotated[Path, typer.Argument(help="file or folder of episodes in any format", metavar="SOURCE")]
Number = Annotated[float, typer.Option(help="0: no limit")]


def annotate(
    source: Source,
    out: Annotated[Path | None, typer.Option(help="file of JSON lines; default: in the workspace's rationales")] = None,
    workspace: Annotated[Path, typer.Option(help="its folder rationales is read back by the app")] = Path("workspace"),
    teacher: Annotated[str, typer.Option(help="endpoint, scripted, or module:class")] = "endpoint",
    per: Annotated[str, typer.Option(help="step, keyframe or trajectory")] = "step",
    model: Annotated[str, typer.Option(help="name of the model at the endpoint")] = "",
    base_url: Annotated[str, typer.Option(help="such as http://localhost:11434/v1; default: OpenAI's")] = "",
    key_env: Annotated[str, typer.Option(help="environment variable that holds the key")] = "OPENAI_API_KEY",
    prompt: Annotated[Path | None, typer.Option(help="text file with the four questions; see --show-prompt")] = None,
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="print the prompt and stop")] = False,
    language: Annotated[str, typer.Option(help="en, de, fr, es, it, pt, nl, or any")] = "en",
    camera: Annotated[list[str] | None, typer.Option("--camera", help="once for each; default: the first")] = None,
    pictures: Annotated[int, typer.Option(help="moments of a stretch that are shown")] = 4,
    image_side: Annotated[int, typer.Option(help="longest side in pixels")] = 512,
    id: Annotated[list[str] | None, typer.Option("--id", help="an episode; once for each; all if left out")] = None,
    requests_per_minute: Number = 0,
    tokens_per_minute: Number = 0,
    price_in: Annotated[float | None, typer.Option(help="of a million tokens read")] = None,
    price_out: Annotated[float | None, typer.Option(help="of a million tokens written")] = None,
    prices: Annotated[Path | None, typer.Option(help="TOML: [model] in = .., out = ..")] = None,
    parallel: Annotated[int, typer.Option(help="questions at once")] = 4,
    attempts: Annotated[int, typer.Option(help="of one question")] = 6,
    timeout: Annotated[float, typer.Option(help="seconds in which nothing comes from the endpoint")] = 120,
    max_tokens: Annotated[int, typer.Option(help="of one answer")] = 1024,
    fresh: Annotated[bool, typer.Option("--fresh", help="ask anew, whatever the cache knows")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="also what was kept aside; --fresh asks anew")] = False,
    copy: Annotated[Path | None, typer.Option(help="also write the episodes with them as HDF5 to this folder")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a teacher explain episodes, and keep its rationales beside them: docs/annotate.md."""
    from analysis.rationales.annotate import Annotating
    from analysis.rationales.annotate import annotate as run
    from analysis.rationales.clips import Per
    from models.refine.settings import choice
    from models.teachers.prompt import LANGUAGES, SHIPPED

    if show_prompt:
        typer.echo(_text(prompt) or SHIPPED.read_text(encoding="utf-8"), nl=False)
        return
    if language not in (*LANGUAGES, "any"):
        raise UserError(f"the language is {language!r}; use one of {', '.join((*LANGUAGES, 'any'))}")
    opened = source_at(source, workspace)
    price_in, price_out = _prices(prices, model, price_in, price_out)
    settings = TeacherSettings(
        model=model, base_url=base_url, prompt=_text(prompt), key_env=key_env,
        requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, price_in=price_in,
        price_out=price_out, image_side=image_side, timeout=timeout, attempts=attempts, max_tokens=max_tokens,
        cache=str(workspace / "cache" / "teacher"), fresh=fresh, further={"language": language},
    )  # fmt: skip
    asked = make_teacher(teacher, settings)
    knock = getattr(asked, "check", None)
    if knock is not None:
        knock()
    what = Annotating(
        choice(Per, per, "per"), tuple(camera or ()), pictures, language, parallel, tuple(id or ()), retry
    )
    path = out or workspace / "rationales" / f"{source.resolve().name}.{teacher.split(':')[-1]}.jsonl"
    with tqdm(unit="rationale", desc=asked.author, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(_bill(asked.spent), refresh=False)
            bar.update(done - bar.n)

        told = run(opened, asked, path, what, progress)
    for one in told.skipped:
        typer.echo(f"skipped: {one.path}: {one.reason}", err=True)
    if told.no_speed:
        episodes = "1 episode" if told.no_speed == 1 else f"{told.no_speed} episodes"
        typer.echo(
            f"keyframes of {episodes} are where a gripper changes, without pauses: nothing tells whether "
            "the actions are relative or absolute; say actions_are in the data set's description "
            "(docs/dataset-description.md)",
            err=True,
        )
    if told.aside:
        aside = path.with_name(path.name.removesuffix(".jsonl") + ".aside.jsonl")
        why = ", ".join(f"{count} x {reason}" for reason, count in told.reasons.items())
        silent = f", {told.unanswered} of them without an answer and asked again next time" if told.unanswered else ""
        questions = "1 question" if told.aside == 1 else f"{told.aside} questions"
        typer.echo(f"kept aside: {questions} in {aside} ({why}){silent}", err=True)
    if copy is not None:
        _copy(source, path, copy)
    spent = asked.spent
    result = {
        "path": str(told.path), "written": told.written, "earlier": told.earlier, "aside": told.aside,
        "aside_earlier": told.aside_earlier, "unanswered": told.unanswered, "requests": spent.requests,
        "cached": spent.cached, "retries": spent.retries, "tokens_in": spent.tokens_in,
        "tokens_out": spent.tokens_out, "cost": spent.cost, "untold": spent.untold,
    }  # fmt: skip
    left = f", {told.aside_earlier} kept aside earlier" if told.aside_earlier else ""
    short = f"{told.path}: {told.written} new, {told.earlier} earlier{left}, {_bill(spent)}"
    print_values(result, as_json, short=short)


def _bill(spent: Spent) -> str:
    least = "at least " if spent.untold else ""
    tokens = f"{least}{spent.tokens_in:,} + {spent.tokens_out:,} tokens"
    cost = f"cost {least}{spent.cost:.4f}" if spent.cost is not None else "no price given"
    answers = "1 answer" if spent.untold == 1 else f"{spent.untold} answers"
    untold = f" ({answers} told no usage)" if spent.untold else ""
    return f"{spent.requests} requests, {spent.cached} from the cache, {tokens}, {cost}{untold}"


def _text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the prompt {path} cannot be read ({error})") from None


def _prices(
    file: Path | None, model: str, price_in: float | None, price_out: float | None
) -> tuple[float | None, float | None]:
    """Prices of a million tokens, as given or as the file says for ``model``."""
    if file is None:
        return price_in, price_out
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        row = table[model]
        found = float(row["in"]), float(row["out"])
    except OSError as error:
        raise UserError(f"the prices {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError):
        raise UserError(f'{file} has no prices of {model!r}; expected a table ["{model}"] with in and out') from None
    return price_in if price_in is not None else found[0], price_out if price_out is not None else found[1]


def _copy(source: Path, rationales: Path, folder: Path) -> None:
    from analysis.export import export_episodes
    from analysis.rationales import TaughtSource

    taught = TaughtSource(open_source(source), (rationales,), own=False)
    told = export_episodes(cast("EpisodeSource", taught), folder, "hdf5")
    typer.echo(f"copied: {told.episodes} episodes with their rationales to {told.path}", err=True)
