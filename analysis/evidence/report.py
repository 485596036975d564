"""A comparison as one HTML file: pictures inline, nothing fetched, every text escaped; light, dark and on paper."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from analysis import __version__
from analysis.evidence import charts
from analysis.evidence.describe import probability
from analysis.evidence.exhibits import Exhibit, Seen
from analysis.evidence.faithful import Faithfulness
from analysis.evidence.pair import Judged, Pair
from analysis.evidence.verdict import Verdict, rounded, said
from analysis.metrics.bootstrap import Estimate
from analysis.pictures.shapes import LIGHT
from analysis.pictures.shapes_svg import inline

STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
COLOURS = {name: f"var(--{name})" for name in LIGHT}  # the page's own, which differ in the dark and on paper


def report_html(pair: Pair, shown: Sequence[Exhibit] = ()) -> str:
    """The whole file. Texts of data sets and models are escaped; there is no script."""
    title = f"{pair.first.spec.name} against {pair.second.spec.name}"
    body = "\n".join(
        (_head(pair, title), _metrics(pair), _judged(pair), _steps(pair, shown), _layers(pair), _foot(pair))
    )
    html = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )
    return html.encode("utf-8", "backslashreplace").decode()  # half a sign (a lone surrogate) cannot be written


def _head(pair: Pair, title: str) -> str:
    compared = pair.comparison
    models = "".join(
        f"<tr><th>{which}</th><td>{escape(spec.name)}</td><td><code>{escape(spec.digest)}</code></td>"
        f"<td>{escape(spec.family)}</td><td>{spec.parameters:,}</td><td>{escape(spec.dtype)}</td></tr>"
        for which, spec in (("first", pair.first.spec), ("second", pair.second.spec))
    )
    return (
        f"<h1>{escape(title)}</h1>\n<p class='lead'>{escape(compared.found)}</p>\n"
        f"<p>{compared.episodes} episodes, {compared.paired} steps. "
        "What is said here holds for these episodes and settings; it was not tested on others.</p>\n"
        + _table(("", "model", "digest", "family", "parameters", "number type"), models)
    )


def _metrics(pair: Pair) -> str:
    compared = pair.comparison
    rows = "".join(
        f"<tr class='{'sure' if row.says in ('higher', 'lower') else ''}'><th>{escape(row.metric.title)}"
        f"<small>{escape(', '.join(t for t in (row.metric.unit, row.metric.means) if t))}</small></th>"
        f"{_cell(row.first)}{_cell(row.second)}{_cell(row.difference)}"
        f"<td>{escape(probability(row.p))}</td><td>{escape(probability(row.corrected))}</td><td>{escape(row.says)}</td></tr>"
        for row in compared.rows
    )
    least = rounded(2 / 2**compared.episodes if compared.episodes < 40 else 0.0)
    floor = f" With {compared.episodes} episodes p cannot be below {escape(least)}." if compared.tested else ""
    return (
        "<h2>Every metric of each</h2>\n"
        f"<figure>{inline(charts.forest(compared.rows), COLOURS)}<figcaption>"
        "Second minus first, paired by episode, 95 % bootstrap intervals; each row "
        "has its own scale around 0. Colour: different after correction."
        "</figcaption></figure>"
        + _table(("metric", "first", "second", "second - first", "p", "corrected", ""), rows, "wide")
        + "<p class='quiet'>Means over episodes with 95 % intervals (expanded percentile bootstrap, 10,000 resamples). "
        f"{escape(compared.tests)}.{floor}</p>"
    )


def _table(head: Sequence[str], rows: str, kind: str = "") -> str:
    """``rows``: HTML. The head stands again on every page that the table is printed on."""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f"<table class='{kind}'><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(held: Estimate) -> str:
    """The value, and below it the interval and n."""
    if not held.n:
        return "<td>-</td>"
    around = f"[{rounded(held.low)}, {rounded(held.high)}]" if held.has_interval else ""
    value = escape(rounded(held.value))
    return f"<td>{value}<small><span>{escape(around)}</span> <span>n = {held.n}</span></small></td>"


def _judged(pair: Pair) -> str:
    return "<h2>Verdicts</h2>\n<div class='two'>" + "".join(map(_one, (pair.first, pair.second))) + "</div>"


def _one(judged: Judged) -> str:
    verdicts = "".join(map(_verdict, judged.verdicts))
    caption = f"model {escape(judged.spec.digest)}"
    head = f"<h3>{escape(judged.spec.name)} <code>{caption}</code></h3>"
    return f"<section>{head}{verdicts}{_badge(judged.faithful)}</section>"


def _verdict(verdict: Verdict) -> str:
    numbers = "".join(f"<li>{escape(n.label)}: {escape(said(n))}</li>" for n in verdict.numbers)
    p = f" Sign-flip p {escape(probability(verdict.p))}." if verdict.p == verdict.p else ""
    listed = f"<ul>{numbers}</ul>" if numbers else ""
    return (
        f"<details open><summary>{escape(verdict.question)} "
        f"<b class='{verdict.word.name.lower()}'>{escape(verdict.says)}</b></summary>"
        f"<p>{escape(verdict.because)}{p}</p>{listed}<p class='quiet'>Rule: {escape(verdict.rule)}</p></details>"
    )


def _badge(found: Faithfulness) -> str:
    kind = found.badge.name.lower()
    others = "".join(f"<li>{escape(n.label)}: {escape(said(n))}</li>" for n in found.others if n.estimate.n)
    return (
        f"<details open><summary>Is the attention map faithful ({escape(found.map)})? <b class='{kind}'>"
        f"{found.badge.value}</b></summary><p>{escape(found.because)}</p><ul>{others}</ul>"
        f"<p class='quiet'>Rule: {escape(found.rule)}</p></details>"
    )


def _steps(pair: Pair, shown: Sequence[Exhibit]) -> str:
    rows = "".join(
        f"<tr><td>{escape(s.place.episode)}</td><td>{s.place.step}</td><td>{rounded(s.distance)}</td></tr>"
        for s in pair.comparison.steps
    )
    table = _table(("episode", "step", "distance of the actions"), rows)
    if not rows:
        return f"<h2>Steps that differ most</h2><p>{escape(pair.comparison.no_step)}</p>"
    return f"<h2>Steps that differ most</h2>{''.join(_exhibit(pair, each) for each in shown)}{table}"


def _exhibit(pair: Pair, shown: Exhibit) -> str:
    place = f"episode {shown.step.place.episode}, step {shown.step.place.step}, camera "
    panes = "".join(
        _pane(judged, seen, place + seen.camera)
        for judged, seen in zip((pair.first, pair.second), shown.seen, strict=True)
    )
    where = place + shown.seen[0].camera
    frame = f"<figure>{_image(shown.frame, 'the frame')}<figcaption>{escape(where)}<br>“{escape(shown.instruction)}”"
    return f"<div class='exhibit'>{frame}</figcaption></figure>{panes}</div>"


def _pane(judged: Judged, seen: Seen, where: str) -> str:
    spec = judged.spec
    caption = (
        f"{spec.name}, model {spec.digest}, {where}; mean attention over all layers, heads and action tokens, sink "
        f"left out; full colour = {seen.full:.1%} of it; badge of the map: {judged.faithful.badge.value}"
    )
    text = f"<blockquote>{escape(seen.text)}</blockquote>" if seen.text else ""
    picture = _image(seen.overlay, f"attention of {spec.name}")
    actions = escape(" · ".join(seen.actions))
    return f"<figure>{picture}<figcaption>{escape(caption)}<br>{actions}</figcaption>{text}</figure>"


def _layers(pair: Pair) -> str:
    parts = ["<h2>Layer by layer at equal input</h2>"]
    if pair.layers.layers:
        parts.append(
            f"<figure>{inline(charts.layers(pair.layers.layers), COLOURS)}<figcaption>Over the prompt's positions of "
            f"{pair.layers.steps} steps, 95 % intervals over episodes. Attention change: half of the summed "
            "differences of each row, mean over heads and positions.</figcaption></figure>"
        )
    else:
        parts.append(f"<p>States and attention were not compared: {escape(pair.layers.why_not)}.</p>")
    if pair.weights is not None:
        rows = "".join(
            f"<tr><td>{escape(group.label)}</td><td>"
            f"{'identical' if group.identical == group.tensors else f'{group.relative:.2%}'}"
            f"</td><td>{group.parameters:,}</td></tr>"
            for group in pair.weights.groups
        )
        parts.append(_table(("weights of", "change, of the norm", "parameters"), rows))
    else:
        parts.append(f"<p>Weights were not compared: {escape(pair.weights_why_not)}.</p>")
    return "\n".join(parts)


def _foot(pair: Pair) -> str:
    settings = "; ".join(f"{escape(name)}: {escape(value)}" for name, value in pair.settings.items())
    records = ", ".join(dict.fromkeys((*pair.first.measured.records, *pair.second.measured.records)))
    return (
        f"<h2>How this was made</h2><p>VLA Lens {escape(__version__)}. {settings}.</p>"
        f"<details><summary>Records</summary><p class='quiet'>{escape(records)}</p></details>"
    )


def _image(jpeg: bytes, alt: str) -> str:
    encoded = base64.b64encode(jpeg).decode("ascii")
    return f'<img alt="{escape(alt, quote=True)}" src="data:image/jpeg;base64,{encoded}">'
