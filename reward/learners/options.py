"""The options of every learner: frozen, checked on construction (UsageError G12). No torch here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import Literal

from rewarden.spec_lang.errors import UsageError

Directions = tuple[tuple[str, str], ...]
"""Features with the direction in which the reward may not fall: (("gap", "up"), ("speed", "down"))."""


@dataclass(frozen=True, slots=True)
class AutoencoderOptions:
    """The mixture of autoencoders. Quantiles are of the training rows' errors."""

    experts: int = 4
    hidden: int = 10
    code: int = 3
    error: str = "l1"
    epochs: int = 60
    patience: int = 0  # epochs without a better error on validation rows; 0 runs them all
    warm_up: int = 15  # epochs on k-means cells, before the experts choose their rows themselves
    batch: int = 256
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    full_quantile: float = 0.1  # errors up to here score 1
    zero_quantile: float = 0.98  # errors from here on score 0
    validation: float = 0.1  # taken out of the training rows only where there is patience
    held_out: float = 0.15
    penalty_weight: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "experts", "hidden", "code", "epochs", "batch", "learning_rate")
        _not_negative(self, "warm_up", "weight_decay", "penalty_weight", "patience")
        _shares(self, "held_out", "validation")
        if self.error not in ("l1", "linf"):
            raise _bad(f"error = {self.error!r} is not a reconstruction error", 'write "l1" or "linf"')
        if not 0.0 <= self.full_quantile < self.zero_quantile <= 1.0:
            raise _bad("the quantiles are not in order", "keep 0 <= full_quantile < zero_quantile <= 1")


@dataclass(frozen=True, slots=True)
class PaperOptions:
    """The mixture of autoencoders with a softmax gate, squared error and exp."""

    experts: int = 3
    hidden: int = 8
    code: int = 2
    steepness: float = 3.0  # the exponent at the error that the quantile gives
    zero_quantile: float = 0.98
    epochs: int = 60
    patience: int = 12
    batch: int = 256
    learning_rate: float = 0.01
    weight_decay: float = 0.001
    validation: float = 0.1
    held_out: float = 0.15
    penalty_weight: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "experts", "hidden", "code", "steepness", "epochs", "patience", "batch", "learning_rate")
        _not_negative(self, "weight_decay", "penalty_weight")
        _shares(self, "held_out", "validation")
        if not 0.0 < self.zero_quantile <= 1.0:
            raise _bad(f"zero_quantile = {self.zero_quantile} is no quantile", "give a value above 0 and up to 1")


@dataclass(frozen=True, slots=True)
class EnergyOptions:
    """A contrastive energy model: demonstrations told from made-up records by a ReLU network."""

    hidden: int = 32
    layers: int = 2
    contrasts: int = 8  # made-up records for each demonstration
    epochs: int = 60
    patience: int = 12
    batch: int = 256
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    smoothness: float = 0.001
    prune: float = 0.002
    precision: str = "single"  # or "double": see `training`
    validation: float = 0.1
    held_out: float = 0.15
    monotone: Directions = ()
    penalty_weight: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "contrasts")
        _network(self)


@dataclass(frozen=True, slots=True)
class PreferenceOptions:
    """Bradley-Terry (Plackett-Luce for rankings) on sums of rewards over segments, with a ReLU network."""

    hidden: int = 32
    layers: int = 2
    epochs: int = 80
    patience: int = 12  # epochs without a better validation loss
    batch: int = 256
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    smoothness: float = 0.003  # weight of the path norm, which bounds the slope in any direction
    prune: float = 0.002  # units that carry less of the path norm than this are replaced by their mean
    label_noise: float = 0.02  # share of answers taken to be slips of the hand
    annotators: str = "alike"  # or "apart": each annotator's share of slips is learned
    precision: str = "single"  # or "double": see `training`
    validation: float = 0.1
    held_out: float = 0.15
    monotone: Directions = ()
    penalty_weight: float = 1.0

    def __post_init__(self) -> None:
        _network(self)
        _slips(self.label_noise)
        if self.annotators not in ("alike", "apart"):
            raise _bad(f"annotators = {self.annotators!r} is unknown", 'write "alike" or "apart"')


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """A linear reward from pairs from which rows can be removed by a Newton step (learners/head.py)."""

    l2: float = 0.0001  # per pair
    noise: float = 4.0  # standard deviation of the objective's random linear term
    epsilon: float = 1.0  # removals may add up to this, then the head is learned anew
    delta: float = 0.00001
    held_out: float = 0.15

    def __post_init__(self) -> None:
        _positive(self, "l2", "noise", "epsilon", "delta")
        _shares(self, "held_out", "held_out")
        if self.epsilon > 1.0 or self.delta >= 0.5:
            raise _bad("the bound holds for epsilon <= 1 and a small delta", "keep epsilon <= 1, delta well below 0.5")


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """Regression on judgements: `scalar` on a number, `ordinal` on grades 0, 1, 2, … whose distances mean nothing."""

    kind: str = "scalar"
    hidden: int = 32
    layers: int = 2
    epochs: int = 80
    patience: int = 12
    batch: int = 256
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    smoothness: float = 0.001
    prune: float = 0.002
    precision: str = "single"  # or "double": see `training`
    validation: float = 0.1
    held_out: float = 0.15
    monotone: Directions = ()
    penalty_weight: float = 1.0

    def __post_init__(self) -> None:
        _network(self)
        if self.kind not in ("scalar", "ordinal"):
            raise _bad(f"kind = {self.kind!r} is no kind of label", 'write "scalar" or "ordinal"')


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """A step on an artifact: what is learned is the change alone, clipped at `most` and held small by the anchor."""

    most: float = 1.0  # the reward moves nowhere by more than this
    anchor: float = 1.0  # weight of the mean squared change over the declared domain and the answers' records
    hidden: int = 16
    epochs: int = 60
    patience: int = 12
    batch: int = 256
    learning_rate: float = 0.005
    weight_decay: float = 0.01
    smoothness: float = 0.001
    prune: float = 0.002
    label_noise: float = 0.02
    precision: str = "single"  # or "double": see `training`
    validation: float = 0.1
    held_out: float = 0.15
    penalty_weight: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "most", "hidden", "epochs", "patience", "batch", "learning_rate")
        _not_negative(self, "anchor", "weight_decay", "smoothness", "prune", "penalty_weight")
        _shares(self, "held_out", "validation")
        _slips(self.label_noise)
        _precision(self)


@dataclass(frozen=True, slots=True)
class CorrectionOptions:
    """The least change, in the sense of the anchor, after which every statement is true with a margin."""

    margin: float = 0.01  # by which the better record is then worth more
    most: float = 1.0
    anchor: float = 1.0
    hidden: int = 16
    epochs: int = 400  # of a round; the anchor is halved from round to round
    rounds: int = 12
    learning_rate: float = 0.01
    penalty_weight: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "margin", "most", "hidden", "epochs", "rounds", "learning_rate")
        _not_negative(self, "anchor", "penalty_weight")
        if self.margin > self.most:
            raise _bad(f"a margin of {self.margin} cannot come of a change of at most {self.most}", "raise most")


Combined = Literal["mean", "min", "disagreement"]


@dataclass(frozen=True, slots=True)
class EnsembleOptions:
    """`members` rewards of one learner, of seeds and splits of their own, as one: their mean, their least, or how far
    they disagree (the greatest minus the least)."""

    members: int = 3
    combine: Combined = "mean"

    def __post_init__(self) -> None:
        if not 2 <= self.members <= 64:
            raise _bad(f"members = {self.members} make no ensemble", "give 2 to 64")
        if self.combine not in ("mean", "min", "disagreement"):
            raise _bad(f"combine = {self.combine!r} is unknown", 'write "mean", "min" or "disagreement"')


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """Rows are dealt out by a hash of whose they are: `shards` rewards, each of which sees its rows in `slices` steps.
    To forget a row is to learn its shard again from its slice on."""

    shards: int = 8
    slices: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.shards <= 256:
            raise _bad(f"shards = {self.shards} make no sense", "give 2 to 256")
        if not 1 <= self.slices <= 64:
            raise _bad(f"slices = {self.slices} make no sense", "give 1 to 64")


@dataclass(frozen=True, slots=True)
class ConstraintOptions:
    """Rules whose violation joins the loss of a learner: all rules that speak of the reward and of no other, or those
    named. `weights` multiply a rule's own; every `witnesses` epochs the verifier looks for records that break a rule,
    which are kept as points (0: never)."""

    reward: str = ""  # the spec's only reward, if left out
    rules: tuple[str, ...] = ()
    weights: tuple[tuple[str, float], ...] = ()
    points: int = 256
    margin: float = 0.0
    witnesses: int = 5

    def __post_init__(self) -> None:
        _positive(self, "points")
        _not_negative(self, "margin", "witnesses")
        for rule, weight in self.weights:
            if not (weight >= 0 and isfinite(weight)):
                raise _bad(f"the weight of {rule} is {weight}", "give a number of 0 or more")


Options = (
    AutoencoderOptions
    | PaperOptions
    | EnergyOptions
    | PreferenceOptions
    | HeadOptions
    | LabelOptions
    | UpdateOptions
    | CorrectionOptions
)


def options_text(options: object) -> dict[str, str]:
    """Options as a manifest holds them: text, so that no number is rounded in passing."""
    return {f.name: _shown(getattr(options, f.name)) for f in fields(options)}  # type: ignore[arg-type]


def _shown(value: object) -> str:
    return ", ".join(f"{name} {way}" for name, way in value) if isinstance(value, tuple) else str(value)


# ── checks ─────────────────────────────────────────────────────────────────────────────────────
def _bad(message: str, help: str) -> UsageError:
    return UsageError("G12", message, help=help)


def _precision(options: object) -> None:
    found = getattr(options, "precision", None)
    if found not in ("double", "single"):
        raise _bad(f"precision = {found!r} is unknown", 'write "double" or "single"')


def _network(options: EnergyOptions | PreferenceOptions | LabelOptions) -> None:
    _precision(options)
    _positive(options, "hidden", "layers", "epochs", "patience", "batch", "learning_rate")
    _not_negative(options, "weight_decay", "smoothness", "penalty_weight", "prune")
    _shares(options, "held_out", "validation")
    if options.prune > 0.1:
        raise _bad("prune above 0.1 would remove units that matter", "keep it at 0.1 or less; 0 keeps every unit")
    for name, way in options.monotone:
        if way not in ("up", "down"):
            raise _bad(f"monotone: {name} = {way!r} is no direction", 'write "up" or "down"')


def _slips(share: float) -> None:
    if not share >= 0.0:
        raise _bad(f"label_noise = {share} is negative", "give label_noise a value of 0 or more")
    if share >= 0.5:
        raise _bad("label_noise of a half or more says that answers carry nothing", "keep it below 0.5")


def _positive(options: object, *names: str) -> None:
    for name in names:
        if not (getattr(options, name) > 0 and isfinite(getattr(options, name))):
            raise _bad(f"{name} = {getattr(options, name)} is not positive", f"give {name} a value above 0")


def _not_negative(options: object, *names: str) -> None:
    for name in names:
        if not (getattr(options, name) >= 0 and isfinite(getattr(options, name))):
            raise _bad(f"{name} = {getattr(options, name)} is negative", f"give {name} a value of 0 or more")


def _shares(options: object, held: str, validated: str) -> None:
    for name in (held, validated):
        if not 0.0 < getattr(options, name) < 1.0:
            raise _bad(f"{name} = {getattr(options, name)} is not a share", f"give {name} a value between 0 and 1")
    if getattr(options, held) + getattr(options, validated) > 0.8:
        raise _bad(f"{held} and {validated} leave too little to learn from", "keep their sum at 0.8 or less")
