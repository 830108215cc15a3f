"""`rewarden keys`, `sign` and `sign-off`: who vouches for a certificate, and for a spec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Key = Annotated[Path, typer.Option("--key", metavar="FILE", help="Your private key (PEM), of `rewarden keys new`.")]


def signing_key(path: Path) -> Ed25519PrivateKey:
    """One's own key, to sign with. UsageError C31, C32."""
    from rewarden.certificate.keys import load_private_key

    with ours():
        return load_private_key(path)


@contextmanager
def ours() -> Iterator[None]:
    """What is wrong with one's own key is no objection to a certificate: the same error, as one of usage (status 2)."""
    from rewarden.spec_lang.errors import CertificateError, UsageError

    try:
        yield
    except CertificateError as error:
        raise UsageError(error.code, error.message, help=error.help) from None


keys = typer.Typer(help="Make a key to sign with, or show a key's fingerprint.", no_args_is_help=True)


@keys.command("new")
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes; it is never overwritten.")],
) -> int:
    """Make an Ed25519 key: the private half at FILE, the public half beside it, to be committed."""
    from rewarden.certificate.keys import fingerprint, generate_key, load_public_key
    from rewarden.output import emit

    with ours():
        public = generate_key(file)
    emit(
        [
            f"wrote {file}: the private key. Keep it to yourself, out of the repository.",
            f"wrote {public}: the public key. Commit it, and name it in a policy.",
            f"fingerprint {fingerprint(load_public_key(public))}",
        ]
    )
    return exits.PROVED


@keys.command("show")
def show(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Public keys (PEM).")],
) -> int:
    """The fingerprint of each public key, for two people to compare by telephone."""
    from rewarden.certificate.keys import fingerprint, load_public_key
    from rewarden.output import emit
    from rewarden.spec_lang.errors import CertificateError, UsageError

    try:
        found = [(file, fingerprint(load_public_key(file))) for file in files]
    except CertificateError as error:
        raise UsageError("G52", error.message, help="name an Ed25519 public key (PEM)") from None
    emit([f"{prints}  {file}" for file, prints in found])
    return exits.PROVED


def sign(
    certificate: Annotated[Path, typer.Argument(metavar="CERT", help="The certificate's folder.")],
    key: Key,
) -> int:
    """Sign a certificate that somebody else has signed: one more signature on the same statement.

    Check it first: `rewarden check-certificate`. Your signature says that you vouch for the statement.
    """
    from rewarden.certificate.countersign import countersign
    from rewarden.output import emit
    from rewarden.spec_lang.errors import UsageError

    if not certificate.is_dir():
        raise UsageError("G50", f"{certificate}: there is no certificate folder of this name")
    signers = countersign(certificate, signing_key(key))
    emit([f"signed {certificate}", *(f"  {prints}" for prints in signers)])
    return exits.PROVED


def sign_off(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The spec (.rwd) that you have read.")],
    key: Key,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="By default SPEC with .signoff.json instead of .rwd."),
    ] = None,
    param: options.Params = None,
    allow: options.Allow = None,
) -> int:
    """Sign off a spec by its digest: that it says what you mean. A second person's signature joins the first's."""
    from rewarden.atomic import write_bytes
    from rewarden.binding import params_of
    from rewarden.certificate.keys import fingerprint
    from rewarden.certificate.signoff import SAYS, signed_off
    from rewarden.output import emit
    from rewarden.spec_lang import load_spec

    read = load_spec(spec, params=params_of(param or ()), allow=tuple(allow or ()))
    signer = signing_key(key)
    place = out or spec.with_suffix(".signoff.json")
    before = place.read_bytes() if place.is_file() else None
    write_bytes(place, signed_off(read, signer, before))
    emit(
        [
            f"signed off {read.name}, {read.digest}",
            f'  "{SAYS}"',
            *(f"  {rule.severity} {rule.name}: {rule.title}" for rule in read.rules),
            f"wrote {place}",
            f"signed by {fingerprint(signer.public_key())}",
        ]
    )
    return exits.PROVED
