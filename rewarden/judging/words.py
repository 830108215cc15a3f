"""A judgement in words, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rewarden.judging.effects import Effect
from rewarden.judging.judgement import Judgement, Test
from rewarden.output import number, paint
from rewarden.spec_lang.diagnostics import printable
from rewarden.text.told import clipped
from rewarden.verifier.ranges.ends import Range


def lines_of(told: Judgement) -> list[str]:
    """Everything that was asked for."""
    parts = [
        _data(told),
        _against(told),
        _noise(told),
        _effects(told),
        _sensitivities(told),
        _experts(told),
        _near(told),
    ]
    found = [line for part in parts for line in part]
    return found + [f"  note          {text}" for text in told.notes]


def _data(told: Judgement) -> Iterator[str]:
    if told.held is None:
        return
    style = "strong" if told.held.fresh else "violated"
    yield f"  judged by     {told.data}: {paint(told.held.why, style)}"
    for test in told.tests:
        yield from _test(test)


def _test(test: Test) -> Iterator[str]:
    yield f"  {test.name}"
    margins = test.margins
    lo, hi = margins.accuracy.wilson
    yield f"    accuracy    {margins.accuracy.text()}; Wilson: {lo:.4f} to {hi:.4f}"
    if margins.weighted is not None:
        yield f"    weighted    {margins.weighted:.4f}"
    if margins.undecided:
        yield f"    no opinion  {margins.undecided} of {len(margins.values)} margins are exactly 0: a coin decided"
    if len(margins.ties):
        yield f"    said ties   {len(margins.ties)}, left out"
    for one in test.contests:
        yield "    " + paint(one.sentence(), "proved" if one.verdict == "beats" else "violated")
        yield f"                right where only one is: {one.only_reward.text()}"
    if len(margins.values):
        quantiles = ", ".join(f"{100 * float(q):g} %: {number(v)}" for q, v in margins.quantiles().items())
        yield f"    margins     {quantiles}"
    for name, found in (("as they stand", test.plain), ("temperature", test.scaled)):
        if found is None:
            continue
        of = (
            f"margins {name}"
            if name != "temperature"
            else f"after a temperature (all: {number(test.temperature or 1)})"
        )
        luck = "which luck explains" if found.sound else f"luck explains {found.ece_by_luck:.4f}"
        yield f"    calibration {of}: ECE {found.ece:.4f} ({luck}), Brier {found.brier:.4f} (a coin: 0.25)"


def _against(told: Judgement) -> Iterator[str]:
    if told.against is not None:
        yield f"  against       {told.against}"
    for distance in told.distances:
        yield f"    {distance.text()}"
        yield f"      over {distance.source}"


def _noise(told: Judgement) -> Iterator[str]:
    if told.noise:
        yield "  label noise   learned again with answers turned round; accuracy on untouched held-out answers"
    for point in told.noise:
        yield f"    {100 * point.level:3.0f} %       {point.accuracy.text()}"


def _effects(told: Judgement) -> Iterator[str]:
    if told.whole is None:
        return
    yield f"  over {told.region.words}, certified"
    yield f"    the reward lies in {range_text(told.whole)}"
    for effect in told.effects:
        yield from _effect(effect)


def _effect(effect: Effect) -> Iterator[str]:
    unit = f" [{effect.unit}]" if effect.unit else ""
    yield f"    {effect.feature}{unit}"
    width = max(len(s.label) for s in effect.slices)
    for one in effect.slices:
        mean = "" if one.mean is None else f"  mean over data {number(one.mean)} ({one.rows} rows there)"
        yield f"      {one.label.ljust(width)}  {range_text(one.range)}{mean}"


def range_text(found: Range) -> str:
    """Both ends, with what is certain and what is really taken."""
    low = "" if found.least_taken is None else f" (taken: {number(found.least_taken)}"
    high = "" if found.most_taken is None else f" .. {number(found.most_taken)})"
    return f"{number(found.least)} .. {number(found.most)}{low}{high}"


def _sensitivities(told: Judgement) -> Iterator[str]:
    if told.sensitivities:
        yield f"  sensitivity   over {told.region.words}; change of the reward, all else equal, certified"
    for one in told.sensitivities:
        per = f"per {one.unit}" if one.what == "per unit" and one.unit else one.what
        direction = f"  {paint(one.direction, 'strong')}" if one.direction else ""
        yield f"    {one.feature}, {per}: {range_text(one.range)}{direction}"


def _experts(told: Judgement) -> Iterator[str]:
    if told.experts:
        yield "  experts       each stands for the rows that it reconstructs best"
    for expert in told.experts:
        yield (
            f"    {expert.number}: {expert.rows} rows ({100 * expert.share:.0f} %), mean reward "
            f"{expert.mean_reward:.3f}; most typical: {expert.row}"
        )
        for trait in expert.traits[:6]:
            yield f"       {trait.feature}: {trait_text(trait.low, trait.middle, trait.high, trait.unit, trait.text)}"


def trait_text(low: float | None, middle: float | None, high: float | None, unit: str | None, text: str) -> str:
    if low is None or middle is None or high is None:
        return text
    return f"{number(low)} .. {number(high)}{f' {unit}' if unit else ''} (median {number(middle)})"


def _near(told: Judgement) -> Iterator[str]:
    for one in told.neighbours:
        yield f"  nearest data  to {one.what} ({number(one.reward)}): " + ", ".join(f"{n} {v}" for n, v in one.values)
        for near in one.nearest:
            differs = ", ".join(f"{name} {value} there" for name, value in near.differs) or "the same"
            apart = f"{100 * near.distance:.2g} % of a range apart"
            yield f"    {near.row}, {apart}, worth {number(near.reward)}: {differs}"
            if near.text is not None:
                yield f"      {printable(clipped(near.text))}"
