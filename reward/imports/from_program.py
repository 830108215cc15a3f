"""An artifact of an exported program: `torch.export`'s own value, or its `.pt2` archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.agreement import check_agreement
from rewarden.reward.artifact import Artifact, Identified, Learner, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.imports.aten import assemble
from rewarden.reward.imports.layout import Block, of_row
from rewarden.reward.imports.program import Program, batch_of
from rewarden.reward.imports.provenance import digest_of_file, imported
from rewarden.reward.operators import Constants
from rewarden.spec_lang.errors import ArtifactError
from rewarden.spec_lang.features import RecordType

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Records = Sequence[tuple[str, RecordType]]
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def from_exported(
    source: Path | ExportedProgram,
    records: Records,
    *,
    identified: Identified = "exact",
    constants: Constants = "exact",
) -> Artifact:
    """The artifact of an exported network, whose inputs are one tensor [n, all columns] or one per record.

    Raises ArtifactError (A30 unsound, A31 pickled, A32 shapes) and Unsupported (X20 an operator, X23).
    """
    if isinstance(source, Path):
        from rewarden.reward.imports.pt2 import read_pt2

        program, name = read_pt2(source), source.name
        learner = imported("an exported program", {"file": digest_of_file(source)})
    else:
        from rewarden.reward.imports.exported import program_of

        program, name, learner = program_of(source), "the exported program", None
    return from_program(program, records, name, identified=identified, constants=constants, learner=learner)


def from_program(
    program: Program,
    records: Records,
    name: str,
    *,
    identified: Identified,
    constants: Constants,
    learner: Learner | None = None,
    run: Run | None = None,
) -> Artifact:
    """The artifact of a program, held against `run`, or else against torch's own operators, call by call."""
    widths = _widths(program, records)
    build = Assembly(sum(widths))
    node = assemble(program, build, bind(build, widths), constants, batch_of(program))
    assembled = build.finish(node)
    artifact = Artifact(
        records=tuple(RewardRecord(param, kind.unqualified()) for param, kind in records),
        graph=assembled.graph,
        tensors=assembled.tensors,
        identified=identified,
        learner=learner,
    )
    if run is None:
        from rewarden.reward.imports.replay import replayed

        run = replayed(program, widths)
    check_agreement(artifact, run, name)
    return artifact


def bind(build: Assembly, widths: Sequence[int]) -> list[Block]:
    """The records' columns, one input after another."""
    starts = np.cumsum([0, *widths])
    return [
        of_row(build.columns(build.INPUT, int(start), int(start) + width), width)
        for start, width in zip(starts[:-1], widths, strict=True)
    ]


def _widths(program: Program, records: Records) -> list[int]:
    """One input of all columns, or one per record."""
    ours = [record_type.width for _, record_type in records]
    shapes = [program.shapes.get(name, ()) for name in program.inputs]
    found = [shape[1] if len(shape) == 2 else 0 for shape in shapes]
    if found == ours or found == [sum(ours)]:
        return [int(width) for width in found]
    text = " and ".join("[" + ", ".join(map(str, shape)) + "]" for shape in shapes) or "nothing"
    raise ArtifactError(
        "A32",
        f"the network reads {text}, the features make {' + '.join(map(str, ours))} columns",
        help="one input column per encoded feature: one tensor [n, columns] for all records, or one for each",
    )
