"""Certificate kernel: the ops of artifacts beyond those of plain networks, as layers.

Identities over the real numbers: |x| = relu(x) + relu(−x), a leaky ReLU is relu(x) − slope·relu(−x),
max(a, b) = b + relu(a − b), min(a, b) = a − relu(a − b), and a number is clipped to lo … hi by
hi − relu((hi − lo) − relu(x − lo)). Standard library only.
"""

from __future__ import annotations

from rewarden.certificate.kernel_artifact import Tensor
from rewarden.certificate.kernel_json import refuse, used
from rewarden.certificate.kernel_program import MAX_WEIGHTS, Program, Relu, Rows, diagonal, shaped

MAX_WIDTH = 1 << 14  # of a concatenation; other ops have no more outputs than they have weights or inputs


def layers_of(program: Program, op: str, sources: tuple[int, ...], tensors: tuple[Tensor, ...]) -> int:
    """One op of the table in docs/formats.md: its last layer."""
    used.add("kernel_ops")
    x, n, emit = sources[0], program.width(sources[0]), program.emit
    eye, minus = diagonal([1] * n), diagonal([-1] * n)
    if op == "concat":
        return _concat(program, sources)
    if len(sources) == 2 and program.width(sources[1]) != n:
        refuse(f"{op} of vectors of different widths")
    match op, tensors:
        case "leaky_relu" | "abs", _:  # |x| has slope −1
            slope, bottom = scalar_of(tensors[0]) if tensors else (-1, 1)
            if tensors and not 0 <= slope <= bottom:
                refuse("the slope of a leaky ReLU must lie in 0 … 1")
            h, k = emit([(x, eye, 1)], kind=Relu), emit([(x, minus, 1)], kind=Relu)
            return emit([(h, eye, 1), (k, diagonal([-slope] * n), bottom)])
        case "clip", (first, last):
            (lo, below), (hi, above) = scalar_of(first), scalar_of(last)
            span = hi * below - lo * above
            if span < 0:
                refuse("a clip must have lo <= hi")
            h = emit([(x, eye, 1)], [-lo] * n, below, kind=Relu)
            k = emit([(h, minus, 1)], [span] * n, above * below, kind=Relu)
            return emit([(k, minus, 1)], [hi] * n, above)
        case "min" | "max", _:
            return extreme(program, x, 1 if op == "max" else -1)
        case "add" | "sub", _:
            return emit([(x, eye, 1), (sources[1], eye if op == "add" else minus, 1)])
        case "minimum" | "maximum", _:
            h = emit([(x, eye, 1), (sources[1], minus, 1)], kind=Relu)
            first_part = (sources[1], eye, 1) if op == "maximum" else (x, eye, 1)
            return emit([first_part, (h, eye if op == "maximum" else minus, 1)])
        case _:
            from rewarden.certificate.kernel_smooth import layer_of

            return layer_of(program, op, sources)


def _concat(program: Program, sources: tuple[int, ...]) -> int:
    total, start, parts = sum(map(program.width, sources)), 0, []
    if total > MAX_WIDTH or total * len(sources) > MAX_WEIGHTS:
        refuse("the program is too large for this kernel")
    for source in sources:
        rows: Rows = [{} for _ in range(total)]
        rows[start : start + program.width(source)] = diagonal([1] * program.width(source))
        parts.append((source, rows, 1))
        start += program.width(source)
    return program.emit(parts)


def extreme(program: Program, x: int, sign: int) -> int:
    """max (sign 1) or min (sign −1) over a vector: m := m ± relu(±(xᵢ − m))."""
    used.add("kernel_ops")
    m = program.emit([(x, [{0: 1}], 1)])
    for i in range(1, program.width(x)):
        h = program.emit([(x, [{i: sign}], 1), (m, [{0: -sign}], 1)][::sign], kind=Relu)
        m = program.emit([(m, [{0: 1}], 1), (h, [{0: sign}], 1)])
    return m


def scalar_of(tensor: Tensor) -> tuple[int, int]:
    return shaped(tensor, 1).values[0], tensor.bottom
