"""The report of a certificate: what it says, that it asks for nothing, and which requirements it leaves open."""

from __future__ import annotations

import csv
import gzip
import io
import re
import subprocess
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import rewarden as rw
from rewarden.audit.document import Block, Bullets, Code, Document, Heading, Lines, Paragraph, Picture, Table, Word
from rewarden.audit.page import render
from rewarden.audit.pdf import paper
from rewarden.audit.report import Audited, document
from rewarden.audit.rules import records, section
from rewarden.audit.signers import Signer, signers
from rewarden.audit.traceability import as_csv, load_requirements, trace
from rewarden.certificate.keys import fingerprint, load_private_key, load_public_key
from rewarden.certificate.match import check_certificate
from rewarden.cli import run
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.sentence import sentence
from rewarden.verifier.bind import bind
from rewarden.verifier.witness import CallValue, FeatureValue, RecordValue, Witness
from tests.unit.test_certificate_match import World
from tests.unit.test_certificate_match import world as world  # the fixture

HOSTILE = """<script>alert(1)</script> #panic("typst") $x$ *bold* `raw` [link] \\ "quoted" =1+1"""


@pytest.fixture
def audited(world: World) -> Audited:
    certificate = world.issue("c", Ed25519PrivateKey.generate())
    spec = load_spec(world.spec)
    checked = world.check(certificate, allow_unchecked=True)
    by = signers(checked, spec, None, None)
    return Audited(certificate, checked, spec, {"R": world.artifact}, trace(spec, checked), {}, by)


def test_the_page_says_what_was_checked_and_what_was_not(audited: Audited) -> None:
    page = render(document(audited))
    told = re.sub(r"<[^>]+>", "", page)
    assert audited.spec.digest in told
    for claim in audited.checked.kernel.claims:
        assert claim.rule in told
        assert claim.verdict in told
    assert "any policy that is trained on the reward" in told
    assert "What was not checked" in told
    assert "The budget was spent." in told  # why `open` is unknown
    assert "rewarden check-certificate c --reward R=ARTIFACT --spec toy.rwd" in told


def test_the_page_asks_for_nothing(audited: Audited) -> None:
    page = render(document(audited))
    without_names = page.replace("http://www.w3.org/", "")
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", without_names)
    assert "url(" not in without_names.replace("url(#", "")
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_the_same_certificate_gives_the_same_bytes(audited: Audited) -> None:
    assert render(document(audited)) == render(document(audited))
    assert paper(document(audited)) == paper(document(audited))


def test_headings_come_in_order_and_tables_have_captions(audited: Audited) -> None:
    page = render(document(audited))
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.count("<table") == page.count("<caption")
    assert page.count("<svg") == page.count('<svg role="img" aria-label="') - page.count('aria-label=""')


def test_there_is_a_list_of_contents_that_leads_somewhere(audited: Audited) -> None:
    page = render(document(audited))
    assert page.count("<main") == page.count("<h1") == page.count('<nav aria-label="Contents"') == 1
    links = re.findall(r'<a href="#([^"]+)"', page)
    assert len(links) == len(set(links)) == page.count("<h2")
    assert all(page.count(f'id="{link}"') == 1 for link in links)


def test_what_does_not_hold_is_said_first(audited: Audited) -> None:
    page = render(document(audited))
    first = page[: page.index("<nav")]
    told = {claim.rule: claim.verdict for claim in audited.checked.kernel.claims}
    assert set(told.values()) >= {"proved", "violated"}
    for rule in audited.spec.rules:
        assert (rule.name in first) == (told.get(rule.name) != "proved")
    assert "must rules and" in first
    assert "should rules are proved" in first


def test_words_are_of_the_claim_that_was_checked_and_of_no_other(audited: Audited) -> None:
    capped = next(claim for claim in audited.checked.kernel.claims if claim.rule == "capped")
    words = f"Claimed, in words: {sentence(bind(audited.spec, 'capped', {'R': audited.rewards['R']}))}"
    assert words in _told(section(audited, audited.spec.rule("capped")))
    kernel = replace(audited.checked.kernel, claims=(replace(capped, digest="sha256:" + "0" * 64),))
    other = replace(audited, checked=replace(audited.checked, kernel=kernel))
    told = _told(section(other, audited.spec.rule("capped")))
    assert "in words" not in told
    assert f"Claimed: {capped.sentence}" in told


def test_a_sentence_about_hundreds_of_columns_is_cut(audited: Audited) -> None:
    capped = next(claim for claim in audited.checked.kernel.claims if claim.rule == "capped")
    kernel = replace(audited.checked.kernel, claims=(replace(capped, sentence="x" * 30_000, digest="sha256:0"),))
    told = _told(
        section(replace(audited, checked=replace(audited.checked, kernel=kernel)), audited.spec.rule("capped"))
    )
    assert "x" * 1500 + " … (the first 1500 letters of 30000: claims.json has all of it)" in told
    assert "x" * 1501 not in told


def test_records_are_in_the_words_of_the_domain() -> None:
    def record(name: str, zone: str) -> RecordValue:
        human, where = FeatureValue("human", None, True, "true"), FeatureValue("zone", None, zone, zone)
        return RecordValue(name, "Step", (FeatureValue("speed", "m/s", 1.5, "3/2"), human, where))

    calls = (CallValue("R(a)", Fraction(1, 4), 0.25, True), CallValue("R(b)", Fraction(1), 1.0, True))
    pair = (record("a", "dock"), record("b", "aisle"))
    found = Witness("r", 0, (), pair, calls, (), 0, (Fraction(-3, 4),), "violated")
    table, rewards, fails = records(found, "r.json")
    assert isinstance(table, Table)
    assert (table.caption, table.head) == ("Records that break the rule", ("feature", "a", "b", "unit"))
    assert [row[1:] for row in table.rows] == [("1.5", "1.5", "m/s"), ("true", "true", ""), ("dock", "aisle", "")]
    assert isinstance(rewards, Table)
    assert rewards.rows[1][1:] == ("1", "1")
    assert fails == Paragraph(("The conclusion fails by 0.75, in exact arithmetic.",))
    assert "by a tie" in _told(records(replace(found, goal_margins=(Fraction(0),)), "r.json"))
    only = replace(found, records=pair[:1], goal=None, goal_margins=())
    assert next(records(only, "r.json")).caption == "A record that meets the premise"  # type: ignore[union-attr]
    many = RecordValue("a", "Step", tuple(FeatureValue(f"f{k}", None, 0.0, "0") for k in range(41)))
    assert "41 features" in _told(records(replace(only, records=(many,)), "r.json"))


def test_pictures_are_told_to_those_who_do_not_see_them(audited: Audited) -> None:
    told = [b for b in document(audited).blocks if isinstance(b, Picture)]
    assert told
    for picture in told:
        assert re.match(r"(Map|Curve) of R", picture.alt)
        assert re.search(r"from -?[\d.e-]+ to -?[\d.e-]+", picture.alt)
        assert f'aria-label="{picture.alt}"' in render(document(audited))
    same = replace(audited, before={"R": audited.rewards["R"]})
    assert "Change: none." in " ".join(b.alt for b in document(same).blocks if isinstance(b, Picture))


def _told(blocks: Iterable[Block]) -> str:
    page = render(Document("t", (Heading(1, "t"), Table("t", ("t",), ()), *blocks)))
    return unescape(re.sub(r"<[^>]+>", "", page))


def test_a_rejected_certificate_says_why(audited: Audited, world: World) -> None:
    proof = next((audited.folder / "proofs").glob("capped.json"))
    proof.write_bytes(proof.read_bytes().replace(b"0", b"1", 1))
    checked = world.check(audited.folder, allow_unchecked=True)
    page = render(document(Audited(audited.folder, checked, audited.spec, audited.rewards, audited.traceability, {})))
    assert "rejected" in page
    assert "Why it is rejected" in page


def test_what_is_proved_of_other_claims_is_no_proof_of_the_rules(audited: Audited, world: World) -> None:
    """A rule of the same name in another spec: the certificate is rejected, and its proof counts for nothing here."""
    other = world.folder / "other.rwd"
    other.write_text(world.spec.read_text().replace("expect R(s) <= ", "expect R(s) <= -1 + ", 1), encoding="utf-8")
    spec = load_spec(other)
    checked = check_certificate(audited.folder, audited.rewards, spec)
    assert not checked.accepted
    assert {claim.rule: claim.verdict for claim in checked.kernel.claims}["capped"] == "proved"
    traced = trace(spec, checked)
    assert not any(one.checked.startswith("proved") for one in traced.traces)
    assert any("Called proved, without evidence that was checked here: capped" in gap for gap in traced.gaps)
    told = re.sub(r"<[^>]+>", "", render(document(Audited(audited.folder, checked, spec, audited.rewards, traced, {}))))
    assert "0 of 1 must rules" in told
    assert "(capped, must), called proved, without evidence of it that was recomputed" in told


def test_evidence_that_unpacks_to_gigabytes_is_not_unpacked(audited: Audited) -> None:
    path = audited.folder / "proofs" / "capped.json"
    (path.parent / "capped.json.gz").write_bytes(gzip.compress(bytes(1 << 29), 1))
    path.unlink()
    tracemalloc.start()
    try:
        _told(section(audited, audited.spec.rule("capped")))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 400 << 20  # a read of up to 128 MiB, and as much of what it unpacks to


# ── hostile words ──────────────────────────────────────────────────────────────────────────────
def everything(words: str) -> Document:
    """Each kind of block, with these words wherever words can be."""
    blocks = (
        Heading(1, words, "a"), Paragraph((words, Word(words), Code(words)), fine=True),
        Bullets((words, (Code(words),))),
        Table(words, (words, words), ((words, (Code(words), Word(words))),)), Lines(words, ((1, words), (2, ""))),
        Picture('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"></svg>', words),
        Paragraph(()), Bullets(()), Table(words, (words,), ()),
    )  # fmt: skip
    return Document(words, blocks)


def test_words_are_never_markup(tmp_path: Path) -> None:
    page = render(everything(HOSTILE))
    assert "<script" not in page
    made = paper(everything(HOSTILE))
    assert made.startswith(b"%PDF-")


@pytest.mark.parametrize("words", ["", " ", "\u202e\u0000\x07", "x" * 5000, "a b" * 999, "日本語 ✓ 🚗", "…" * 50])
def test_any_words(words: str) -> None:
    assert paper(everything(words)).startswith(b"%PDF-")
    assert render(everything(words)).endswith("</html>\n")


def test_nothing_steers_a_terminal_or_turns_words(world: World) -> None:
    page = render(everything("a\x1b[31m\u202e\x9b2Jb\x07"))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)
    text = SPEC.replace("{level}", "9").replace("=HYPERLINK(evil)", "\x1b]0;owned\x07 = 1")
    world.spec.write_text(text, encoding="utf-8")
    spec = load_spec(world.spec)
    told = as_csv(trace(spec, world.check(world.issue("c", Ed25519PrivateKey.generate()))))
    assert "owned" in told
    assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]", told)


# ── requirements ───────────────────────────────────────────────────────────────────────────────
SPEC = """\
spec toy v1

features S {
  x0 : real in -1 .. 1
  x1 : real in -1 .. 1
}

reward R(s: S)

--- Never above the level.
must capped:
  forall s: S
  expect R(s) <= {level}
  id "SR-1" because "=HYPERLINK(evil)"

should low:
  forall s: S
  given s.x0 >= 0
  expect R(s) <= -1000
"""


def test_requirements_to_evidence(world: World, tmp_path: Path) -> None:
    level = re.search(r"expect R\(s\) <= (\S+)", world.spec.read_text())
    assert level is not None
    named = tmp_path / "named.rwd"
    named.write_text(SPEC.replace("{level}", level[1]), encoding="utf-8")
    checked = world.check(world.issue("c", Ed25519PrivateKey.generate()), allow_unchecked=True)
    traced = trace(load_spec(named), checked, {"SR-1": "told elsewhere", "SR-2": "never seen"})
    first, *_, last = traced.traces
    assert (first.requirement, first.rule, first.verdict, first.covered) == ("SR-1", "capped", "proved", True)
    assert first.evidence == "proofs/capped.json"
    assert first.checked.endswith("(exact integer arithmetic)")
    assert (last.requirement, last.because, last.rule, last.verdict) == ("SR-2", "never seen", "", "no rule")
    assert any("SR-2" in gap for gap in traced.gaps)
    assert any("names no requirement: low" in gap for gap in traced.gaps)
    assert any("x1" in gap and "x0" not in gap for gap in traced.gaps)
    rows = list(csv.DictReader(io.StringIO(as_csv(traced))))
    assert [row["requirement"] for row in rows] == ["SR-1", "", "SR-2"]
    assert rows[0]["because"] == "'=HYPERLINK(evil)"  # no spreadsheet may take it for a formula


@pytest.mark.parametrize("text", ["name\nx\n", "id\n\n,\n", "id\nA\nA\n", 'id\n"A', "id,text\n,no number\n"])
def test_a_list_of_requirements_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(text)
    if text == "id\n\n,\n":
        path.write_text("id\n,\n")
    with pytest.raises(UsageError) as refused:
        load_requirements(path)
    assert refused.value.code == "G47"


def test_from_python(audited: Audited, world: World) -> None:
    found = rw.audit_report(audited.folder, spec=audited.spec, rewards={"": world.artifact})
    assert found.accepted
    assert found.html() == render(document(audited))
    assert found.csv() == as_csv(audited.traceability)


def test_the_page_says_who_vouches_and_how_that_is_known(world: World, tmp_path: Path) -> None:
    assert run(["keys", "new", str(tmp_path / "vera.pem")]) == 0
    assert run(["keys", "new", str(tmp_path / "kay.pem")]) == 0
    prints = {name: fingerprint(load_public_key(tmp_path / f"{name}.pub.pem")) for name in ("vera", "kay")}
    certificate = world.issue("c", load_private_key(tmp_path / "vera.pem"))
    spec = load_spec(world.spec)

    def of(**more: object) -> Audited:
        return rw.audit_report(certificate, spec=spec, rewards={"R": world.artifact}, **more)  # type: ignore[arg-type]

    (own,) = of().signers
    assert own.fingerprint == prints["vera"]
    assert "compare the fingerprint" in own.known
    trusted = of(public_key=tmp_path / "vera.pub.pem")
    assert trusted.signers == (
        Signer("vera.pub.pem", "the certificate", prints["vera"], "given to this report as trusted"),
    )
    assert prints["vera"] in trusted.html()
    assert of(public_key=tmp_path / "kay.pub.pem").signers == ()
    assert not of(public_key=tmp_path / "kay.pub.pem").accepted
    off = tmp_path / "toy.signoff.json"
    assert run(["sign-off", str(world.spec), "--key", str(tmp_path / "kay.pem"), "-o", str(off)]) == 0
    roles = '[[role]]\nname = "issuer"\nkeys = ["vera.pub.pem"]\n'
    roles += '[[role]]\nname = "reviewer"\nkeys = ["kay.pub.pem"]\nsigns = ["spec"]\n'
    (tmp_path / "policy.toml").write_text(f'{roles}[spec]\nsign_offs = ["toy.signoff.json"]\n')
    by = of(policy=tmp_path / "policy.toml").signers
    assert [(one.who, one.fingerprint) for one in by] == [("issuer", prints["vera"]), ("reviewer", prints["kay"])]
    assert "spec" in by[1].what
    with pytest.raises(UsageError, match="whose keys"):
        of(public_key=tmp_path / "vera.pub.pem", policy=tmp_path / "policy.toml")


# ── the command ────────────────────────────────────────────────────────────────────────────────
def test_the_command(audited: Audited, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["report", str(audited.folder), "--spec", str(world.spec), "-r", f"R={world.folder / 'reward.rwz'}"]
    assert run(arguments) == 2  # nothing asked for
    files = [tmp_path / "a.html", tmp_path / "a.pdf", tmp_path / "a.csv"]
    for option, file in zip(("--html", "--pdf", "--csv"), files, strict=True):
        arguments += [option, str(file)]
    assert run([*arguments, "--public-key", str(world.spec)]) == 2  # no key
    capsys.readouterr()
    assert run(arguments) == 0
    assert capsys.readouterr().out.endswith("accepted\n")
    assert all(file.stat().st_size > 100 for file in files)
    said = subprocess.run(["file", str(files[1])], capture_output=True, text=True, check=False).stdout
    assert "PDF" in said or not said
