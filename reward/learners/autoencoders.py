"""A reward from demonstrations alone: the verifiable mixture of autoencoders.

Each expert is a small ReLU autoencoder that reconstructs the demonstrations it is responsible for. A situation is worth
as much as the best expert can reconstruct it:

    error(s)  = min over experts k of ‖z − decode_k(clip(encode_k(z), −1, 1))‖      z the normalised s, L1 or L∞
    reward(s) = clip((hi − error(s)) / (hi − lo), 0, 1)                             lo, hi quantiles of training errors

After Malomgré & Simoens (arXiv 2602.14844), whose reward is exp of a mean squared error under soft routing. Every
change keeps the order of situations similar and makes the whole piecewise linear, hence provable: an absolute error in
place of a squared one, hard routing as a minimum, a ramp in place of exp (both fall with the error).

The clip of the code is ours. An autoencoder extrapolates along its own manifold, and would pay for situations far from
all demonstrations that happen to lie on it; with codes held to where the demonstrations' were, the reconstructions
fill a bounded set, so that far situations have large errors, and provably so.

A value that is missing is read as the mean of its column, and nobody asks for its reconstruction: the error of a row is
over what was observed of it, an L1 error scaled to all columns that are ever observed. A feature that no demonstration
observes, such as the action where only states were recorded, is not read by the reward, and the record says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rewarden.reward.artifact import Artifact, Learner
from rewarden.reward.assembly import Assembled, Assembly
from rewarden.reward.figures import auc
from rewarden.reward.learners.descent import Group
from rewarden.reward.learners.interface import Demonstrations, Rules, Run
from rewarden.reward.learners.loop import Function, Schedule, Trained, identity_of, train
from rewarden.reward.learners.options import AutoencoderOptions, PaperOptions, options_text
from rewarden.reward.learners.source import Source, dealt
from rewarden.reward.normaliser import Normaliser, fit_normaliser
from rewarden.reward.training import deterministic, dyadic, quantile, split, split_distinct, tensor64
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.features import RecordType

FEWEST_ROWS = 20
CODE_ROOM = 1.05  # how far beyond the demonstrations' codes the clip lets a code go
LLOYD_ROUNDS = 25
NARROWEST = 2.0**-6  # the least width of the ramp, in errors: what stores its two numbers rounds far more finely
Array32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layers:
    """All experts at once. Weights [expert, out, in], biases [expert, out]: encode, code, decode, rebuild."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def code(self, z: Tensor) -> Tensor:
        """Codes [expert, row, code] of normalised rows [row, width]."""
        return _affine(torch.relu(_affine(z, self, 0)), self, 1)

    def rebuild(self, code: Tensor) -> Tensor:
        return _affine(torch.relu(_affine(code, self, 2)), self, 3)

    def parameters(self) -> list[Tensor]:
        return [*self.weights, *self.biases]


@dataclass(frozen=True, slots=True)
class _Expert:
    """One expert as it is exported, codes normalised to −1 … 1."""

    weights: tuple[Array32, ...]
    biases: tuple[Array32, ...]


@dataclass(frozen=True, slots=True)
class _Ramp:
    """score = clip(offset − slope·error, 0, 1)."""

    slope: float
    offset: float


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Normalised rows z [row, width], 0 where a value is missing; `seen` [row, width] holds the weight of each value in
    the error, None where all are observed."""

    z: Tensor
    seen: Tensor | None = None

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, items: Tensor) -> _Rows:
        return _Rows(self.z[items], None if self.seen is None else self.seen[items])


class Autoencoders:
    """The learner `autoencoders`."""

    name = "autoencoders"

    def fit(self, data: Demonstrations, options: AutoencoderOptions, run: Run = Run()) -> Artifact:  # noqa: B008 (frozen)
        """Learn from encoded rows [row, width], NaN where missing. Raises DataError D20 (fewer than 20 rows, or fewer
        different ones than are needed), D23 (nothing observed), ArtifactError A18 where training diverges, A24 where a
        checkpoint cannot be written."""
        identity = identity_of(self.name, options, data, run)
        with deterministic(run.seed) as generator:
            shares = (options.validation, options.held_out) if options.patience else (options.held_out,)
            found = dealt(run, data, shares, generator, _checked, _split)
            data, (kept, *validated, tested) = found.data, found.parts
            missing = np.isnan(data.rows)
            normaliser = _normaliser(data, kept, missing)

            def read(some: Demonstrations) -> _Rows:
                return _rows(normaliser, some.rows, options.error)

            rows = read(data)
            held = rows[validated[0]] if validated else rows[kept[:0]]
            layers = _begun(rows.z.shape[1], options, normaliser, generator)
            centres = _kmeans(rows.z[kept], options.experts, generator)
            model = _Model(layers, centres, found.source(rows[kept], read), rows[kept], held, options, normaliser, data)
            trained = train(model, Schedule.of(self.name, options), run, generator, identity)
            with torch.no_grad():
                experts, ramp = model.final()
                record = _record(experts, ramp, model, rows[tested], found.counts, trained, generator) | found.notes
        if missing.any():
            record |= _missing_text(data, missing)
        if isinstance(run.penalty, Rules):
            record |= run.penalty.record()
        return _artifact(experts, ramp, model, Learner(self.name, options_text(options), run.seed, record))


# ── data ───────────────────────────────────────────────────────────────────────────────────────
def _checked(data: Demonstrations) -> tuple[NDArray[np.float64], dict[str, str]]:
    """A key that is equal for equal rows, and nothing to note. Raises DataError D05, D20, D23."""
    if len(data.rows) < FEWEST_ROWS:
        raise DataError(
            "D20",
            f"too few demonstrations to learn from: {len(data.rows)}",
            help=f"give at least {FEWEST_ROWS} rows; a few thousand make a useful reward",
        )
    broken = np.flatnonzero(np.isinf(data.rows).any(axis=1))
    if len(broken):
        raise DataError("D05", f"row {broken[0] + 1} of the demonstrations holds an infinite value", help="drop it")
    blank = np.flatnonzero(np.isnan(data.rows).all(axis=1))
    if len(blank):
        raise DataError(
            "D23", f"row {blank[0] + 1} of the demonstrations has no value at all", help="drop rows that hold nothing"
        )
    return np.nan_to_num(data.rows, nan=-1e300), {}


def _split(key: NDArray[np.float64], shares: tuple[float, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Equal rows stay together, unless there is next to nothing else: a single situation, recorded often, is a
    demonstration too."""
    if (key == key[0]).all():
        return split(len(key), shares, generator)
    return split_distinct(key, shares, generator)


def _normaliser(data: Demonstrations, kept: Tensor, missing: NDArray[np.bool_]) -> Normaliser:
    """Of the training rows; columns that no row observes become 0."""
    normaliser = fit_normaliser(data.rows[kept.numpy()], data.record.type)
    there = ~missing.all(axis=0)
    return Normaliser(np.where(there, normaliser.scale, 0.0), np.where(there, normaliser.shift, 0.0))


def _rows(normaliser: Normaliser, rows: NDArray[np.float64], error: str) -> _Rows:
    missing, read = np.isnan(rows), normaliser.scale != 0.0
    if not missing.any():
        return _Rows(tensor64(normaliser(rows)))
    z = np.where(missing, 0.0, normaliser(np.where(missing, 0.0, rows)))
    seen = (~missing & read).astype(np.float64)
    if error == "l1":
        seen *= read.sum() / np.maximum(seen.sum(axis=1, keepdims=True), 1.0)
    return _Rows(tensor64(z), tensor64(seen))


def _missing_text(data: Demonstrations, missing: NDArray[np.bool_]) -> dict[str, str]:
    found = {"values missing": f"{missing.mean():.4f} of all, in {missing.any(axis=1).mean():.4f} of the rows"}
    gone = np.asarray(missing.all(axis=0)).tolist()
    never = [c.name for c, unseen in zip(data.record.type.columns(), gone, strict=True) if unseen]
    if never:
        found["never observed, and not read"] = ", ".join(never)
    return found


# ── training ───────────────────────────────────────────────────────────────────────────────────
def _begun(width: int, options: AutoencoderOptions, normaliser: Normaliser, generator: torch.Generator) -> Layers:
    """Layers that do not read columns which nobody observed."""
    layers = initial_layers(width, options, generator)
    unread = torch.from_numpy(normaliser.scale == 0.0)
    with torch.no_grad():
        layers.weights[0][:, :, unread] = 0.0
        layers.weights[3][:, unread, :] = 0.0
    return layers


@dataclass(frozen=True, slots=True)
class _Model:
    """Hard EM: first every expert on its k-means cell, then on the rows that it reconstructs best."""

    layers: Layers
    centres: Tensor  # of the k-means cells
    source: Source[_Rows]
    rows: _Rows  # those that are trained on, or a sample of them
    held: _Rows
    options: AutoencoderOptions
    normaliser: Normaliser
    data: Demonstrations

    @property
    def groups(self) -> tuple[Group, ...]:
        return (Group(self.layers.parameters(), self.options.weight_decay),)

    def loss(self, batch: _Rows, epoch: int) -> Tensor:
        errors = _errors(self.layers, batch, self.options.error)
        if epoch <= self.options.warm_up:
            cells = _squared(batch.z, self.centres).argmin(dim=1)
            return errors.gather(1, cells.unsqueeze(1)).mean()
        return errors.min(dim=1).values.mean()

    def validation(self) -> float:
        return float(_errors(self.layers, self.held, self.options.error).min(dim=1).values.mean())

    def project(self) -> None:
        """Nothing to hold."""

    def reward(self, epoch: int) -> Function | None:
        """The reward as it stands, after the warm-up: this epoch's ramp, not clipped.

        The clip would kill the gradient where the reward is 1, and that is where a rule is violated most; below a
        threshold under 1, and above one over 0, the clipped and the unclipped ramp agree.
        """
        if epoch <= self.options.warm_up:
            return None
        with torch.no_grad():
            best = _errors(self.layers, self.rows, self.options.error).min(dim=1).values
            ramp = _calibrate(best, self.options)
        scale, shift = tensor64(self.normaliser.scale), tensor64(self.normaliser.shift)

        def reward(rows: Tensor) -> Tensor:
            z = _Rows(rows.to(torch.float64) * scale + shift)
            error = _errors(self.layers, z, self.options.error).min(dim=1).values
            return (ramp.offset - ramp.slope * error).to(rows.dtype)

        return reward

    def final(self) -> tuple[tuple[_Expert, ...], _Ramp]:
        experts = _export(self.layers, self.rows, self.options)
        return experts, _calibrate(_exported_errors(experts, self.rows, self.options.error), self.options)

    def snapshot(self) -> Artifact:
        with torch.no_grad():
            return _artifact(*self.final(), self, None)


def _artifact(experts: tuple[_Expert, ...], ramp: _Ramp, model: _Model, learner: Learner | None) -> Artifact:
    assembled = _graph(experts, model.normaliser, ramp, model.options.error)
    return Artifact(
        records=(model.data.record,),
        graph=assembled.graph,
        tensors=assembled.tensors,
        identified="exact",
        learner=learner,
        data=model.data.sources,
    )


def _record(
    experts: tuple[_Expert, ...],
    ramp: _Ramp,
    model: _Model,
    tested: _Rows,
    counts: tuple[int, ...],
    trained: Trained,
    generator: torch.Generator,
) -> dict[str, str]:
    kind = model.options.error
    errors, held = _exported_errors(experts, model.rows, kind), _exported_errors(experts, tested, kind)
    shuffled = _shuffled(tested, model.data.record.type, generator)
    fake, real = _score(_exported_errors(experts, shuffled, kind), ramp), _score(held, ramp)
    return {
        "epochs": str(trained.epochs),
        "experts": str(len(experts)),
        "training rows": str(counts[0]),
        **({"validation rows": str(counts[1])} if model.options.patience else {}),
        "held-out rows": str(counts[-1]),
        "mean error, training": f"{float(errors.mean()):.4f}",
        "mean error, held out": f"{float(held.mean()):.4f}",
        "mean reward, held out": f"{float(real.mean()):.4f}",
        "AUC, held out against features shuffled": f"{auc(real.numpy(), fake.numpy()):.4f}",
    }


def initial_layers(width: int, options: AutoencoderOptions | PaperOptions, generator: torch.Generator) -> Layers:
    sizes = [
        (options.hidden, width),
        (options.code, options.hidden),
        (options.hidden, options.code),
        (width, options.hidden),
    ]
    weights, biases = [], []
    for out, into in sizes:
        noise = torch.randn((options.experts, out, into), generator=generator, dtype=torch.float64)
        weights.append((noise * (2.0 / into) ** 0.5).requires_grad_())
        biases.append(torch.zeros((options.experts, out), dtype=torch.float64).requires_grad_())
    return Layers(tuple(weights), tuple(biases))


def _affine(x: Tensor, layers: Layers, layer: int) -> Tensor:
    return x @ layers.weights[layer].transpose(1, 2) + layers.biases[layer].unsqueeze(1)


def _errors(layers: Layers, rows: _Rows, kind: str) -> Tensor:
    """Reconstruction errors [row, expert]."""
    return _norm(rows.z - layers.rebuild(layers.code(rows.z)), rows.seen, kind).transpose(0, 1)


def _norm(residual: Tensor, seen: Tensor | None, kind: str) -> Tensor:
    size = residual.abs() if seen is None else residual.abs() * seen
    return size.sum(dim=-1) if kind == "l1" else size.amax(dim=-1)


def _kmeans(z: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Centres [expert, width] of a k-means partition: k-means++ seeds, then Lloyd's rounds."""
    centres = z[torch.randint(len(z), (1,), generator=generator)]
    while len(centres) < count:
        nearest = _squared(z, centres).min(dim=1).values + 1e-12
        centres = torch.cat([centres, z[torch.multinomial(nearest, 1, generator=generator)]])
    for _ in range(LLOYD_ROUNDS):
        cells = _squared(z, centres).argmin(dim=1)
        members = torch.nn.functional.one_hot(cells, count).to(z.dtype)
        sizes = members.sum(dim=0).unsqueeze(1)
        centres = torch.where(sizes > 0, members.T @ z / sizes.clamp(min=1.0), centres)
    return centres


def _squared(z: Tensor, centres: Tensor) -> Tensor:
    return ((z.unsqueeze(1) - centres.unsqueeze(0)) ** 2).sum(dim=2)


# ── export ─────────────────────────────────────────────────────────────────────────────────────
def _export(layers: Layers, rows: _Rows, options: AutoencoderOptions) -> tuple[_Expert, ...]:
    """The experts that win at least one row, codes normalised to −1 … 1 over those rows, weights rounded."""
    winners = _errors(layers, rows, options.error).argmin(dim=1)
    codes = layers.code(rows.z)
    experts = []
    for k in range(options.experts):
        mine = codes[k, winners == k]
        if len(mine) == 0:
            continue
        lo, hi = mine.amin(dim=0), mine.amax(dim=0)
        centre, half = (lo + hi) / 2, (hi - lo) / 2 * CODE_ROOM
        half = torch.where(half > 0, half, torch.ones_like(half))
        w, b = [t[k] for t in layers.weights], [t[k] for t in layers.biases]
        weights = (w[0], w[1] / half.unsqueeze(1), w[2] * half, w[3])
        biases = (b[0], (b[1] - centre) / half, b[2] + w[2] @ centre, b[3])
        experts.append(_Expert(tuple(dyadic(x) for x in weights), tuple(dyadic(x) for x in biases)))
    return tuple(experts)


def _exported_errors(experts: tuple[_Expert, ...], rows: _Rows, kind: str) -> Tensor:
    """Errors [row] of the exported experts, least over experts."""
    best, z = [], rows.z
    for expert in experts:
        w, b = [tensor64(x) for x in expert.weights], [tensor64(x) for x in expert.biases]
        code = (torch.relu(z @ w[0].T + b[0]) @ w[1].T + b[1]).clamp(-1.0, 1.0)
        best.append(_norm(z - (torch.relu(code @ w[2].T + b[2]) @ w[3].T + b[3]), rows.seen, kind))
    return torch.stack(best).amin(dim=0)


def _calibrate(errors: Tensor, options: AutoencoderOptions) -> _Ramp:
    lo, hi = quantile(errors, options.full_quantile), quantile(errors, options.zero_quantile)
    hi = max(hi, lo * (1 + NARROWEST), lo + 1e-4)  # errors that are all alike are at its upper end, and score 1
    slope = float(dyadic(1.0 / (hi - lo)))
    return _Ramp(slope, float(dyadic(hi * slope)))


def _score(errors: Tensor, ramp: _Ramp) -> Tensor:
    return (ramp.offset - ramp.slope * errors).clamp(0.0, 1.0)


def _graph(experts: tuple[_Expert, ...], normaliser: Normaliser, ramp: _Ramp, kind: str) -> Assembled:
    build = Assembly(len(normaliser.scale))
    z = build.scale(build.INPUT, normaliser.scale, normaliser.shift)
    errors = []
    for expert in experts:
        code = build.affine(build.relu(build.affine(z, expert.weights[0], expert.biases[0])), *_at(expert, 1))
        held = build.clip(code, -1.0, 1.0)
        rebuilt = build.affine(build.relu(build.affine(held, *_at(expert, 2))), *_at(expert, 3))
        residual = build.absolute(build.sub(z, rebuilt))
        errors.append(build.total(residual) if kind == "l1" else build.reduce_max(residual))
    least = build.reduce_min(build.concat(errors)) if len(errors) > 1 else errors[0]
    slope, offset = np.array([[-ramp.slope]], np.float32), np.array([ramp.offset], np.float32)
    return build.finish(build.clip(build.affine(least, slope, offset), 0.0, 1.0))


def _at(expert: _Expert, layer: int) -> tuple[Array32, Array32]:
    return expert.weights[layer], expert.biases[layer]


def _shuffled(rows: _Rows, record_type: RecordType, generator: torch.Generator) -> _Rows:
    """Rows whose features come from different rows: right one by one, wrong together."""
    parts, seen, start = [], [], 0
    for feature in record_type.features:
        order, stop = torch.randperm(len(rows), generator=generator), start + feature.width
        parts.append(rows.z[order, start:stop])
        if rows.seen is not None:
            seen.append(rows.seen[order, start:stop])
        start = stop
    return _Rows(torch.cat(parts, dim=1), torch.cat(seen, dim=1) if seen else None)
