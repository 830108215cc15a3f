"""The Python interface, second part: learning, judging, forgetting, and an artifact's history.

These begin at files, as the commands of the same names do: a learn config, a table, an artifact beside its ancestors.
`rewarden` gives them with the functions of `api`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rewarden.api import as_reward
from rewarden.progress import Progress, silent
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang import Spec
from rewarden.spec_lang.errors import UsageError

if TYPE_CHECKING:
    from rewarden.audit.report import Audited
    from rewarden.editor.history.bake import Baked
    from rewarden.editor.history.merge import Merged
    from rewarden.editor.history.revert import Reverted
    from rewarden.editor.history.squash import Squashed
    from rewarden.history import Difference
    from rewarden.judging.judgement import Judgement
    from rewarden.spec_lang.sanity.checks import Identified, Sanity
    from rewarden.unlearning import Unlearned
    from rewarden.verifier.options import VerifyOptions
    from rewarden.verifier.progress import Report

Place = str | os.PathLike[str]


# ── specs ──────────────────────────────────────────────────────────────────────────────────────
def check(spec: Spec, *, identified: Identified = "exact") -> Sanity:
    """What is wrong with a spec itself, before any reward exists: `.errors`, `.warnings`, and facts of each rule.

    `identified`: how far rewards will be known. SpecError where its data cannot be read.
    """
    from rewarden.checking import row_counts
    from rewarden.spec_lang.sanity.checks import check_spec

    row_counts(spec)
    return check_spec(spec, identified=identified)


# ── learning and forgetting ────────────────────────────────────────────────────────────────────
def learn(
    config: Place, *, seed: int | None = None, checkpoints: Place | None = None, progress: Progress = silent
) -> Artifact:
    """A reward learned from data as a config says (TOML): the same data, config and seed give the same digest.

    `seed` replaces the config's. With `checkpoints`, a folder, a run that was stopped goes on from what it left there;
    that folder is the caller's to remove. Raises UsageError (G codes) for the config, DataError for the data.
    """
    from rewarden.learning import learn_from

    kept = None if checkpoints is None else Path(checkpoints)
    return learn_from(Path(config), seed=seed, progress=progress, checkpoints=kept)


def encode(
    texts: Place,
    out: Place,
    *,
    encoder: Place,
    features: Place,
    type: str | None = None,
    views: Mapping[str, str] | None = None,
    keep: Literal["start", "end"] = "end",
    progress: Progress = silent,
) -> list[str]:
    """Write a Parquet table of features from texts, for a spec to name as data; what was done, in lines.

    `encoder`: a folder on this machine; `features`: the spec that declares them, `type` where it declares several;
    `views`: which part of the text a feature is.
    """
    from rewarden.text.tables import encode_file

    asked = (Path(features), type)
    return encode_file(Path(texts), Path(out), Path(encoder), asked, views or {}, keep, progress)


def unlearn(
    artifact: Place,
    config: Place,
    forget: Place,
    out: Place,
    *,
    road: Literal["exact", "certified", "approximate"] | None = None,
    spec: Place | None = None,
    audit: bool = False,
    strangers: Place | None = None,
    shadows: int = 16,
    progress: Progress = silent,
) -> Unlearned:
    """Make a reward forget rows; the child is written to `out`, and is `.artifact`, its guarantee `.statement`.

    `artifact` is a place, since what a reward was learned in shards from lies beside it. Arguments as of the command.
    """
    from rewarden.unlearning import Asked
    from rewarden.unlearning import unlearn as forgetting

    asked = Asked(
        artifact=Path(artifact),
        config=Path(config),
        forget=Path(forget),
        out=Path(out),
        road=road,
        spec=None if spec is None else Path(spec),
        audit=audit or strangers is not None,
        strangers=None if strangers is None else Path(strangers),
        shadows=shadows,
    )
    return forgetting(asked, progress)


# ── judging ────────────────────────────────────────────────────────────────────────────────────
def inspect(
    artifact: Artifact | Place,
    data: Place | None = None,
    *,
    against: Artifact | Place | None = None,
    effects: bool = False,
    where: Sequence[str] = (),
    noise: Sequence[float] = (),
    baselines: Sequence[str] = (),
    witness: Place | None = None,
    actions: Sequence[str] = (),
    discount: float = 0.99,
    budget: int | None = None,
    columns: Mapping[str, str] | None = None,
    encoder: Place | None = None,
    html: Place | None = None,
    title: str = "reward",
    progress: Progress = silent,
) -> Judgement:
    """How good a reward is and what it does: `.tests`, `.effects`, `.sensitivities`, `.experts`, `.neighbours`, …

    Arguments as of the command `inspect` (docs/judging.md); `columns` is its `--map`. `.to_json()` is what it writes as
    JSON; `html` names a page to write, under a `title`. Raises DataError, UsageError G34, G35, G42, G43.
    """
    from rewarden.judging.judgement import Asked, judge
    from rewarden.reward.judging.distances import DistanceOptions
    from rewarden.verifier.ranges.ends import BUDGET

    if budget is not None and budget < 1:
        raise UsageError("G42", f"the budget is {budget}: it must be at least 1")
    asked = Asked(
        data=None if data is None else Path(data),
        columns=columns or {},
        encoder=None if encoder is None else Path(encoder),
        against=None if against is None else as_reward(against),
        witness=None if witness is None else Path(witness),
        where=where,
        noise=noise,
        baselines=baselines,
        actions=actions,
        effects=effects or bool(where) or html is not None,
        budget=BUDGET if budget is None else budget,
        distance=DistanceOptions(discount=discount),
    )
    told = judge(as_reward(artifact), asked, progress)
    if html is not None:
        from rewarden.atomic import write_text
        from rewarden.report.inspection import render

        write_text(Path(html), render(told, title))
    return told


# ── an artifact's history ──────────────────────────────────────────────────────────────────────
def diff(
    one: Artifact, other: Artifact, options: VerifyOptions | None = None, *, progress: Report | None = None
) -> Difference:
    """Where two artifacts of the same records differ, proved: `.same`, `.most`, `.identical` with its coverage."""
    from rewarden.history import difference

    return difference(one, other, options, progress)


def promise(child: Artifact, parent: Artifact, rows: Path | None = None) -> str:
    """What an edit promises, as the text of a spec over R and Before: beyond its regions and rims nothing has changed,
    and nothing moves by more than so much. To write down, verify and certify.

    Where a patch lies near many rows, the spec speaks of records that are not near the rows of a file, which is written
    to `rows`: keep the spec in the same folder. Raises EditError E32, E36, and UsageError G25 without such a place.
    """
    from rewarden.atomic import write_text
    from rewarden.promises import promise as promised

    found = promised(child, parent) if rows is None else promised(child, parent, rows.name)
    if found.rows is not None:
        if rows is None:
            message = "what the edit promises comes with a file of rows near which it acts"
            raise UsageError("G25", message, help="say where that file is to be: promise(child, parent, rows=Path(…))")
        write_text(rows, found.rows)
    return found.text


def revert(artifact: Place, edit: str = "0", *, near: Iterable[Place] = (), rows_come_back: bool = False) -> Reverted:
    """Take an edit back, by its number in the log (0 is the newest), digest or rule; later ones are made again.

    Ancestors are looked for beside the artifact and in the folders of `near`. The result is `.artifact`. Raises
    EditError E38 where rows that were forgotten would come back, unless `rows_come_back` says that they shall.
    """
    from rewarden.editor.history.revert import revert as reverting
    from rewarden.editor.reach import understood
    from rewarden.history import chain_of, wanted
    from rewarden.verifier.extremum import certified_extremum

    chain = chain_of(Path(artifact), [Path(folder) for folder in near], wanted(edit))
    return reverting(chain, chain.number(edit), understood(certified_extremum), rows_come_back=rows_come_back)


def squash(artifact: Place, count: int | None = None, *, near: Iterable[Place] = ()) -> Squashed:
    """The newest `count` edits (all of them, unless said) as one: the same reward, bit for bit, as `.artifact`."""
    from rewarden.editor.history.squash import squash as squashing
    from rewarden.history import chain_of

    chain = chain_of(Path(artifact), [Path(folder) for folder in near], count + 1 if count else None)
    return squashing(chain, count or max(1, sum(step.edit is not None for step in chain.steps)))


def merge(one: Place, other: Place, *, near: Iterable[Place] = ()) -> Merged:
    """Two lines of edits of one ancestor as one: `.artifact`, or `.conflicts` where they cannot both hold."""
    from rewarden.editor.history.merge import merge as merging
    from rewarden.editor.reach import understood
    from rewarden.history import chain_of
    from rewarden.verifier.extremum import certified_extremum

    folders = [Path(folder) for folder in near]
    return merging(chain_of(Path(one), folders), chain_of(Path(other), folders), understood(certified_extremum))


def bake(artifact: Artifact | Place, *, steps: int = 2000) -> Baked:
    """The stack of patches learned into a plain network of the same shape, as `.artifact`: verify it, nothing is
    proved of it. `.largest`: how far it is off on sampled points."""
    from rewarden.editor.history.bake import BakeOptions
    from rewarden.editor.history.bake import bake as baking

    return baking(as_reward(artifact), BakeOptions(steps=steps), lambda done, of: None)


# ── certificates ───────────────────────────────────────────────────────────────────────────────
def audit_report(
    certificate: Place,
    *,
    spec: Spec,
    rewards: Mapping[str, Artifact | Path],
    before: Mapping[str, Artifact | Path] | None = None,
    requirements: Place | None = None,
    public_key: Place | None = None,
    policy: Place | None = None,
    workers: int = 1,
) -> Audited:
    """Check a certificate and give what an auditor reads: `.html()`, `.pdf()`, `.csv()`, `.accepted`, `.traceability`.

    `rewards`: by name, or the only one under ""; `before`: earlier artifacts, for pictures. `requirements`: a CSV (id,
    text) of what has to be covered. `public_key` is the one that is trusted, or `policy` a file that the certificate is
    held to. UsageError G47, G51, G53, G54; CertificateError C31.
    """
    from rewarden.audit.report import Audited
    from rewarden.audit.signers import signers
    from rewarden.audit.traceability import load_requirements, trace
    from rewarden.certificate.match import check_certificate
    from rewarden.certificate.policy import load_policy

    def loaded(given: Mapping[str, Artifact | Path]) -> dict[str, Artifact]:
        return {name: as_reward(one) for name, one in given.items()}

    required = None if requirements is None else load_requirements(Path(requirements))
    if public_key is not None and policy is not None:
        raise UsageError("G51", "a public key and a policy: whose keys are trusted?", help="give one")
    held, key = (
        (None if policy is None else load_policy(Path(policy))),
        (None if public_key is None else Path(public_key)),
    )
    artifacts, folder = loaded(rewards), Path(certificate)
    checked = check_certificate(folder, artifacts, spec, public_key=key, policy=held, workers=workers)
    first = min(checked.kernel.rewards or spec.rewards)
    named, earlier = ({name or first: a for name, a in given.items()} for given in (artifacts, loaded(before or {})))
    by = signers(checked, spec, key, held)
    return Audited(folder, checked, spec, named, trace(spec, checked, required), earlier, by)
