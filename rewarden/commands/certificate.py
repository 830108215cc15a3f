"""`rewarden certify` and `rewarden check-certificate`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.api import Issued
    from rewarden.certificate.match import Checked


def certify(
    out: options.OutFolder,
    spec: options.SpecFile = None,
    reward: options.Rewards = None,
    rule: options.Rules = None,
    param: options.Params = None,
    allow: options.Allow = None,
    budget: options.Budget = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Sign with this private key (PEM).")] = None,
    new_key: Annotated[
        Path | None, typer.Option("--new-key", metavar="FILE", help="Make a key there first, and sign with it.")
    ] = None,
    quiet: options.Quiet = False,
) -> int:
    """Verify, and issue a signed certificate of what is proved, with the proofs."""
    from rewarden import api
    from rewarden.atomic import require_free
    from rewarden.binding import Asked, bind, verify_options
    from rewarden.certificate.issue import require_real
    from rewarden.output import emit, result_lines
    from rewarden.progress import per_rule, progress

    bound = bind(Asked(spec, reward or (), param or (), rule or (), allow or ()))
    require_free(out)
    chosen = verify_options(bound.config, {"budget": budget})
    require_real(chosen.semantics)  # told before the work, and before a key is made
    signer = _signer(key, new_key)
    with progress(quiet) as report:
        told = per_rule(report)
        result = api.with_proofs(
            api.verify(bound.spec, chosen, rules=bound.rules, progress=told, rewards=bound.rewards)
        )
    emit(result_lines(result, quiet=quiet))
    issued = api.certify(result, out=out, key=signer, near=ancestors_in(bound.places))
    note_refused(issued)
    if not quiet:
        emit(["", f"wrote {out}", f"signed by {issued.fingerprint}"])
        if signer is None:
            emit(["  a one-time key that was not kept: it shows later damage, not who signed; --key signs as you"])
    return issued.status


def ancestors_in(places: Mapping[str, Path]) -> list[Path]:
    """Where the ancestors of artifacts are looked for: beside them."""
    return sorted({place.resolve().parent for place in places.values()})


def note_refused(issued: Issued) -> None:
    """Loudly: it is a bug in Rewarden."""
    from rewarden.output import note

    for rule, why in issued.refused.items():
        note(f"warning: {rule} is in the certificate as unknown, without evidence: {why}")


def check_certificate(
    certificate: Annotated[Path, typer.Argument(metavar="CERT", help="The certificate's folder.")],
    reward: options.Rewards = None,
    spec: Annotated[
        Path | None, typer.Option("--spec", metavar="SPEC", help="Compile this spec again, and compare the claims.")
    ] = None,
    param: options.Params = None,
    allow: options.Allow = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", metavar="FILE", help="Trust this key (PEM) and no other.")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="Hold it to this policy (TOML): whose keys, how old."),
    ] = None,
    model_signature: Annotated[
        Path | None,
        typer.Option(
            "--model-signature", metavar="FILE", help="A signature of the artifact by model-signing, to match."
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--jobs", "--workers", min=1, max=256, help="Processes that check proofs.")
    ] = 1,
    tier: Annotated[
        Literal["exact", "flint", "float64"],
        typer.Option("--tier", help="Arithmetic: the kernel's integers, or accelerated (named in the answer)."),
    ] = "exact",
    allow_unchecked: Annotated[
        bool, typer.Option("--allow-unchecked", help="Accept must rules without evidence, none that are violated.")
    ] = False,
    quiet: options.Quiet = False,
) -> int:
    """Check a certificate: proofs, text and signature. Loads neither torch nor z3."""
    from rewarden.binding import params_of, places_of
    from rewarden.certificate.keys import require_key
    from rewarden.certificate.match import check_certificate as check
    from rewarden.certificate.policy import load_policy
    from rewarden.config import Config, find_config
    from rewarden.output import emit
    from rewarden.spec_lang.errors import UsageError

    if not certificate.is_dir():
        raise UsageError("G50", f"{certificate}: there is no certificate folder of this name")
    if public_key is not None and policy is not None:
        raise UsageError("G51", "--public-key and --policy: whose keys are trusted?", help="give one")
    if public_key is not None:
        require_key(public_key)
    asked = None if policy is None else load_policy(policy)
    config = find_config() if not reward and spec is None else Config()
    if not reward and config.rewards:
        spec = config.specs[0] if len(config.specs) == 1 else None
    checked = check(
        certificate,
        places_of(reward or [f"{name}={place}" for name, place in config.rewards.items()]),
        spec,
        {**config.params, **params_of(param or ())},
        (*config.allow, *(allow or ())),
        public_key=public_key,
        policy=asked,
        model_signature=model_signature,
        workers=workers,
        tier=tier,
        require_light=True,
        allow_unchecked=allow_unchecked,
    )
    emit(_lines(checked, quiet))
    return exits.PROVED if checked.accepted else exits.REJECTED


def _signer(key: Path | None, new_key: Path | None) -> Path | None:
    from rewarden.certificate.keys import generate_key
    from rewarden.commands.keys import ours, signing_key
    from rewarden.spec_lang.errors import UsageError

    if key is not None and new_key is not None:
        raise UsageError("G51", "--key and --new-key: which of them?", help="give one")
    if new_key is not None:
        with ours():
            generate_key(new_key)
    elif key is not None:
        signing_key(key)  # told before the work if it is none
    return key or new_key


def _lines(checked: Checked, quiet: bool) -> list[str]:
    """What came of it. Files and statements are a stranger's: none of their characters steers the terminal."""
    from rewarden.certificate.kernel_report import RECIPE
    from rewarden.output import paint
    from rewarden.spec_lang.diagnostics import printable

    word = "accepted" if checked.accepted else "rejected"
    lines = []
    if not quiet:
        for claim in checked.kernel.claims:
            digests = "digests " * (claim.verdict == RECIPE)
            by = f" [{digests}checked by {claim.by}]" if claim.files else ""
            lines += [claim.sentence, f"  {claim.verdict}: {claim.reason}{by}"]
        lines += [f"reward {name}: {digest}" for name, digest in sorted(checked.kernel.rewards.items())]
        told = sorted(checked.kernel.accounts.items())
        lines += [f"recipe not re-run: {name} is, by its manifest, {account}" for name, account in told]
        lines += [checked.text.sentence, checked.signature.sentence, *checked.notes]
        lines += [f"arithmetic: {checked.kernel.tier}, of the reward as a function of real numbers"]
        lines += [f"trusted: {checked.kernel.trusted_base}"]
        lines += ["it concerns the reward, not any policy or machine that optimises it", ""]
    lines = [printable(line) for line in lines] + [f"  {printable(problem)}" for problem in checked.problems]
    verdicts = [claim.verdict for claim in checked.kernel.claims if claim.verdict != RECIPE]
    many = "s" if len(checked.problems) > 1 else ""
    but = "" if checked.accepted else f"{len(checked.problems)} problem{many}; "
    return [*lines, f"{paint(word, word)}: {but}{verdicts.count('proved')} of {len(verdicts)} claims proved"]
