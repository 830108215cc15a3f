"""Reward networks of the sizes that people have: one record, two records, and how cost grows.

The networks learn a smooth function of a few inputs (so that they look like rewards, not like noise), from a fixed
seed. A rule says that the reward stays below what ascent from many points reaches, plus a small margin; rules about two
records say that a small step of one feature moves the reward by little. maraboupy, where it can be imported, is asked
the same in turn (`PYTHONPATH=DIR`); its answers come without an account of rounding.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

import rewarden as rw
from benchmarks.scene import Scene
from benchmarks.timing import Row, median_seconds
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.verifier.options import VerifyOptions

LIMIT = 60.0
RUNS = 3
BUDGET = 400_000


@dataclass(frozen=True, slots=True)
class Case:
    """A network over `inputs` features in -1 .. 1, and the part of that box that a rule is about."""

    inputs: int
    hidden: tuple[int, ...] = (32, 32)
    reach: float = 1.0


def learned(case: Case, seed: int = 0) -> nn.Sequential:
    """A network after a few hundred steps towards a smooth function of its inputs."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    widths = (case.inputs, *case.hidden)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
    directions = torch.randn(4, case.inputs, generator=generator) / case.inputs**0.5
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(400):
        x = 2.0 * torch.rand(256, case.inputs, generator=generator) - 1.0
        wanted = torch.sin(2.0 * x @ directions.T).sum(-1, keepdim=True)
        optimiser.zero_grad()
        torch.autograd.backward((net(x) - wanted).square().mean())
        optimiser.step()
    return net.eval()


HEAD = "spec rewards v1\nfeatures S {{ x: real ^ {inputs} in -{reach} .. {reach} }}\nreward R(s: S)\n"
CAPPED = HEAD + "must capped:\n  forall s: S\n  expect R(s) <= {level}\n"
STEADY = """spec rewards v1
features S {{
  x: real ^ {rest} in -{reach} .. {reach}
  y: real in -{reach} .. {reach}
}}
reward R(s: S)
must steady:
  forall a, b: S varying y
  given 0 <= a.y - b.y <= 1/10
  expect R(a) - R(b) <= {level}
"""


def bound_to(text: str, net: nn.Module) -> tuple[Spec, Artifact]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rewards.rwd"
        path.write_text(text)
        spec = rw.load_spec(path)
        return spec, rw.from_torch(net, features=spec.features["S"])


def capped(case: Case, net: nn.Module) -> tuple[str, Fraction]:
    """The rule's text and its level: what ascent reaches, and a twentieth of the spread over points at random."""
    most, spread = _climbed(case, net)
    level = Fraction(round(1000 * (most + 0.05 * spread)), 1000)
    return CAPPED.format(inputs=case.inputs, reach=case.reach, level=float(level)), level


def steady(case: Case, net: nn.Module) -> tuple[str, Fraction]:
    """A step of 0.1 in the last feature moves the reward by at most 1.5 times what ascent finds."""

    def stepped(x: torch.Tensor) -> torch.Tensor:
        step = torch.zeros(case.inputs)
        step[-1] = 0.1
        moved: torch.Tensor = net((x + step).clamp(-case.reach, case.reach)) - net(x)
        return moved

    level = Fraction(round(1000 * 1.5 * _climbed(case, stepped)[0]), 1000)
    return STEADY.format(rest=case.inputs - 1, reach=case.reach, level=float(level)), level


def _climbed(case: Case, function: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, float]:
    """The most that projected gradient ascent reaches from 2,000 points, and the spread of where it started."""
    x = case.reach * (2.0 * torch.rand(2_000, case.inputs, generator=torch.Generator().manual_seed(1)) - 1.0)
    with torch.no_grad():
        spread = float(function(x).max() - function(x).min())
    for step in range(100):
        x.requires_grad_()
        (slope,) = torch.autograd.grad(function(x).sum(), x)
        with torch.no_grad():
            x = (x + case.reach * 0.2 * 0.95**step * slope.sign()).clamp(-case.reach, case.reach)
    with torch.no_grad():
        return float(function(x).max()), spread


def rewards(_: Scene) -> Iterator[Row]:
    """Own reward networks, 5 to 64 inputs, one record and two, and a peer."""
    for inputs, reach in ((5, 1.0), (8, 0.5), (16, 0.2), (32, 0.1), (64, 0.05)):
        case = Case(inputs, reach=reach)
        net = learned(case)
        yield _row(f"{inputs} inputs, one record", capped(case, net), net, partial(_marabou_capped, case, net))
    for inputs, reach in ((5, 1.0), (8, 1.0), (16, 0.5)):
        case = Case(inputs, reach=reach)
        net = learned(case)
        yield _row(f"{inputs} inputs, two records", steady(case, net), net, partial(_marabou_steady, case, net))


def growth(_: Scene) -> Iterator[Row]:
    """How the time of one rule grows with inputs, width, depth and the size of the region."""
    for what, cases in (
        ("inputs", [Case(n, reach=0.25) for n in (4, 8, 16, 32)]),
        ("width", [Case(6, (w, w), 0.5) for w in (16, 32, 64, 128)]),
        ("depth", [Case(6, (24,) * d, 0.5) for d in (1, 2, 3, 4)]),
        ("region", [Case(6, reach=r) for r in (0.125, 0.25, 0.5, 1.0)]),
    ):
        times = []
        for case in cases:
            net = learned(case)
            spec, reward = bound_to(capped(case, net)[0], net)
            options = VerifyOptions(budget=BUDGET, time_limit=LIMIT)
            seconds = median_seconds(partial(rw.verify, spec, options, R=reward), RUNS, 0)
            verdict = next(iter(rw.verify(spec, options, R=reward)))
            times.append(f"{seconds:.2f} s" + ("" if str(verdict.verdict) == "proved" else f" ({verdict.verdict})"))
        names = [
            str({"inputs": c.inputs, "width": c.hidden[0], "depth": len(c.hidden), "region": c.reach}[what])
            for c in cases
        ]
        yield Row(f"growth with {what} {', '.join(names)}", ", ".join(times), "one record, all of `verify`")


def _row(name: str, rule: tuple[str, Fraction], net: nn.Module, peer: Callable[[Fraction], str | None]) -> Row:
    spec, reward = bound_to(rule[0], net)
    options = VerifyOptions(budget=BUDGET, time_limit=LIMIT)
    seconds = median_seconds(partial(rw.verify, spec, options, R=reward), RUNS, 0)
    result = next(iter(rw.verify(spec, options, R=reward)))
    theirs = peer(rule[1])
    how = f"{result.verdict} by {result.engine}" + ("" if theirs is None else f"; maraboupy {theirs}")
    return Row(f"reward, {name}", f"{seconds:.2f} s", how)


# ── a peer ─────────────────────────────────────────────────────────────────────────────────────
def _marabou_capped(case: Case, net: nn.Sequential, level: Fraction) -> str | None:
    return _marabou([(case.reach, case.inputs)], net, 1, level, ())


def _marabou_steady(case: Case, net: nn.Sequential, level: Fraction) -> str | None:
    return _marabou([(case.reach, case.inputs)] * 2, net, 2, level, range(case.inputs - 1))


def _marabou(
    boxes: Sequence[tuple[float, int]], net: nn.Sequential, copies: int, level: Fraction, shared: Sequence[int]
) -> str | None:
    """Median seconds and answer to: is there a point where (R(a) or R(a) − R(b)) >= level? None where it is not
    installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from maraboupy import Marabou, MarabouCore
    except ImportError:
        return None
    answers = []

    def solve() -> None:
        query = MarabouCore.InputQuery()
        size = 0
        outputs, inputs = [], []
        equations, relus = [], []
        bounds: list[tuple[int, float, float | None]] = []
        for reach, width in boxes[:copies]:
            layer = list(range(size, size + width))
            inputs.append(layer)
            bounds += [(i, -reach, reach) for i in layer]
            size += width
            for module in net:
                if isinstance(module, nn.Linear):
                    rows, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
                    out = list(range(size, size + len(bias)))
                    size += len(bias)
                    for i, target in enumerate(out):
                        terms = [(float(w), v) for w, v in zip(rows[i], layer, strict=True)]
                        equations.append(([*terms, (-1.0, target)], -float(bias[i])))
                else:
                    out = list(range(size, size + len(layer)))
                    size += len(layer)
                    relus += list(zip(layer, out, strict=True))
                    bounds += [(i, 0.0, None) for i in out]
                layer = out
            outputs.append(layer[0])
        query.setNumberOfVariables(size)
        for variable, lo, hi in bounds:
            query.setLowerBound(variable, lo)
            if hi is not None:
                query.setUpperBound(variable, hi)
        for terms, value in equations:
            _equation(MarabouCore, query, MarabouCore.Equation.EQ, terms, value)
        for j in shared:
            _equation(MarabouCore, query, MarabouCore.Equation.EQ, [(1.0, inputs[0][j]), (-1.0, inputs[1][j])], 0.0)
        if copies == 2:
            step = [(1.0, inputs[0][-1]), (-1.0, inputs[1][-1])]
            _equation(MarabouCore, query, MarabouCore.Equation.GE, step, 0.0)
            _equation(MarabouCore, query, MarabouCore.Equation.LE, step, 0.1)
            terms = [(1.0, outputs[0]), (-1.0, outputs[1])]
        else:
            terms = [(1.0, outputs[0])]
        _equation(MarabouCore, query, MarabouCore.Equation.GE, terms, float(level))
        for number, variable in enumerate(i for layer in inputs for i in layer):
            query.markInputVariable(variable, number)
        for relu in relus:
            MarabouCore.addReluConstraint(query, *relu)
        options = Marabou.createOptions(verbosity=0, timeoutInSeconds=int(LIMIT))
        answers.append(MarabouCore.solve(query, options, "")[0])

    seconds = median_seconds(solve, 1, 0)
    return f"{seconds:.2f} s ({answers[-1]})"


def _equation(core: object, query: object, kind: object, terms: Sequence[tuple[float, int]], value: float) -> None:
    equation = core.Equation(kind)  # type: ignore[attr-defined]
    for coefficient, variable in terms:
        equation.addAddend(coefficient, variable)
    equation.setScalar(value)
    query.addEquation(equation)  # type: ignore[attr-defined]
