"""An expert's corrections: a few statements "this is worth less than that", made true by a small change.

    least  anchor · E[a²]   such that   R(better) + a(better) >= R(worse) + a(worse) + margin   for every statement

with a the change alone (`change`), E over the declared domain and the statements' records. The constraints are hinges;
from round to round the anchor is halved until all statements hold for the artifact as it is deployed, patches and
rounding included. Statements that contradict each other are refused before anything is learned, by name. Rules add
their penalty to every step; the statements still decide when a round was the last.
"""

from __future__ import annotations

import numpy as np
import torch

from rewarden.reward.artifact import Artifact, Edit, Learner
from rewarden.reward.deployed import forward
from rewarden.reward.learners.change import Change, deployed, require_one_record, scores
from rewarden.reward.learners.checkpoints import Checkpoint
from rewarden.reward.learners.interface import Array, Comparisons, Revision, Rules, Run
from rewarden.reward.learners.loop import below, identity_of
from rewarden.reward.learners.networks import Network, rounded
from rewarden.reward.learners.options import CorrectionOptions, options_text
from rewarden.reward.training import deterministic, settle, tensor64
from rewarden.spec_lang.errors import DataError

ROOM = 1.25  # what is asked for while learning, in margins: rounding takes a little of it
PUSH = 20.0  # weight of the hinges


class Corrections:
    """The learner `corrections`."""

    name = "corrections"

    def fit(self, data: Revision, options: CorrectionOptions, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """The corrected artifact, a child of the one given. Raises DataError D22 (a statement about one record), D26
        (statements that contradict each other, or that no allowed change makes true), ArtifactError A13, BindingError
        B02, A24."""
        require_one_record(data.artifact, data.answers.record)
        _require_consistent(data.answers)
        identity = identity_of(self.name, options, data, run)
        with deterministic(run.seed) as generator:
            change = Change.begin(data.artifact, options.hidden, options.most, generator)
            found, rounds = _search(change, data, options, run, generator, identity)
        record = _record(change, found, data, options, rounds)
        if isinstance(run.penalty, Rules):
            record |= run.penalty.record()
        learner = Learner(self.name, options_text(options), run.seed, record)
        edit = Edit("corrections", f"{len(data.answers.segments)} statements", {"learner": self.name, **record})
        return change.child(found, run, edit, learner, data.answers.sources)


def _search(
    change: Change, data: Revision, options: CorrectionOptions, run: Run, generator: torch.Generator, identity: str
) -> tuple[Network, int]:
    """Rounds end in a checkpoint; each has an optimiser of its own, so that there is nothing of one to keep."""
    segments = data.answers.segments
    z = change.normalised(tensor64(segments))
    before = scores(data.artifact, segments).sum(dim=2)
    parameters = [*change.network.weights, *change.network.biases]
    done = _resumed(parameters, run, generator, identity)
    for turn in range(done, options.rounds):
        anchor = options.anchor * 0.5**turn
        optimiser = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=0.0)
        for epoch in range(turn * options.epochs + 1, (turn + 1) * options.epochs + 1):
            sums = before + change(z).sum(dim=2)
            short = torch.relu(ROOM * options.margin - (sums[:, 0] - sums[:, 1]))
            loss = PUSH * short.sum() + anchor * change.anchor(z)
            if run.penalty is not None:
                loss = loss + options.penalty_weight * run.penalty(change.changed, generator)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if isinstance(run.penalty, Rules):
                run.penalty.after(epoch, lambda: _deployed(change, rounded(change.network)))
        settle(optimiser)
        with torch.no_grad():
            found = rounded(change.network)
            missed = _missed(change, found, segments, options.margin)
        run.progress("corrections", turn + 1, options.rounds, f"{len(segments) - len(missed)} of {len(segments)} hold")
        if not len(missed):
            return found, turn + 1
        if run.checkpoints is not None:
            kept = {"generator": generator.get_state(), **{f"parameter.{k}": p for k, p in enumerate(parameters)}}
            if isinstance(run.penalty, Rules):
                kept |= {f"penalty.{name}": value for name, value in run.penalty.state().items()}
            run.checkpoints.save(Checkpoint(identity, turn + 1, {}, kept))
    missed = _missed(change, rounded(change.network), segments, options.margin)
    patched = "; a patch of the artifact may forbid them" if data.artifact.patches else ""
    raise DataError(
        "D26",
        f"statement {missed[0] + 1} and {len(missed) - 1} more of {len(segments)} do not hold after {options.rounds} "
        f"rounds{patched}" if len(missed) > 1 else
        f"statement {missed[0] + 1} does not hold after {options.rounds} rounds{patched}",
        help=f"raise most ({options.most:g}), hidden or epochs, or state less",
    )  # fmt: skip


def _resumed(parameters: list[torch.Tensor], run: Run, generator: torch.Generator, identity: str) -> int:
    """The rounds that are done; what they left is put in place."""
    found = None if run.checkpoints is None else run.checkpoints.load(identity)
    if found is None:
        return 0
    with torch.no_grad():
        for k, parameter in enumerate(parameters):
            parameter.copy_(found.tensors[f"parameter.{k}"])
    generator.set_state(found.tensors["generator"])
    if isinstance(run.penalty, Rules):
        run.penalty.restore(below(found.tensors, "penalty."))
    return found.epoch


def _missed(change: Change, network: Network, segments: Array, margin: float) -> np.ndarray:
    """The statements that the artifact, as deployed, does not make true by the margin."""
    child = _deployed(change, network)
    flat = np.ascontiguousarray(segments.reshape(-1, segments.shape[-1]), np.float32)
    sums = forward(child, flat).astype(np.float64).reshape(segments.shape[:3]).sum(axis=2)
    return np.flatnonzero(~(sums[:, 0] >= sums[:, 1] + margin))


def _deployed(change: Change, network: Network) -> Artifact:
    assembled, _ = change.applied(network)
    return change.artifact.child(Edit("corrections", "", {}), graph=assembled.graph, tensors=assembled.tensors)


def _require_consistent(answers: Comparisons) -> None:
    import networkx as nx

    flat = answers.segments.reshape(len(answers.segments), 2, -1)
    graph = nx.DiGraph()
    for row, (better, worse) in enumerate(flat):
        if np.array_equal(better, worse):
            raise DataError("D22", f"statement {row + 1} compares a record with itself", help="drop it or correct it")
        graph.add_edge(worse.tobytes(), better.tobytes(), row=row + 1)
    try:
        cycle = nx.find_cycle(graph)
    except nx.NetworkXNoCycle:
        return
    rows = sorted(graph.edges[edge[:2]]["row"] for edge in cycle)
    raise DataError(
        "D26",
        "statements " + ", ".join(str(row) for row in rows) + " contradict each other",
        help="each says that its worse record is worth less than its better one: together they go in a circle",
    )


def _record(
    change: Change, network: Network, data: Revision, options: CorrectionOptions, rounds: int
) -> dict[str, str]:
    before = deployed(data.artifact, data.answers.segments).sum(dim=2)  # as `_missed` looks at what comes of it
    held = int((before[:, 0] >= before[:, 1] + options.margin).sum())
    return {
        "statements": f"{len(before)}, of which {held} held before, and all hold now by {options.margin:g}",
        "rounds": str(rounds),
        "change over the domain": change.typical(network),
    }
