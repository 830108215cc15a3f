"""The audit report in a real browser: nothing that it shows is asked for from anywhere."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rewarden.audit.page import render
from rewarden.audit.report import Audited, document
from rewarden.audit.traceability import trace
from rewarden.report.markup import Html, join, table, tag
from rewarden.spec_lang import load_spec
from tests.unit.test_certificate_match import World
from tests.unit.test_certificate_match import world as world  # the fixture

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CURIOUS = '<!doctype html><title>a</title><img src="http://nobody.invalid/a.png"><link rel=icon href="http://nobody.invalid/b">'


def _asked(page: Path, folder: Path) -> tuple[list[str], str]:
    """What the page asks for over the network, and what the browser makes of it. No name is resolved.

    What the browser asks for on its own account has no page as its initiator.
    """
    assert BROWSER is not None
    log = folder / "net.json"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'browser'}"]
    options += [f"--log-net-log={log}", "--net-log-capture-mode=Everything", "--dump-dom", page.as_uri()]
    done = subprocess.run([BROWSER, *options], capture_output=True, text=True, check=True, timeout=120)
    told = json.loads(log.read_text())
    start = told["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    jobs = [event["params"] for event in told["events"] if event["type"] == start and "url" in event.get("params", ())]
    return [job["url"] for job in jobs if job.get("initiator") != "not an origin"], done.stdout


@pytest.mark.skipif(BROWSER is None, reason="there is no browser here")
def test_no_request_leaves_the_page(world: World, tmp_path: Path) -> None:
    certificate = world.issue("c", Ed25519PrivateKey.generate())
    spec = load_spec(world.spec)
    checked = world.check(certificate, allow_unchecked=True)
    audited = Audited(certificate, checked, spec, {"R": world.artifact}, trace(spec, checked), {})
    for name, text in (("report", render(document(audited))), ("curious", CURIOUS)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "page.html").write_text(text, encoding="utf-8")
    asked, shown = _asked(tmp_path / "report" / "page.html", tmp_path / "report")
    assert asked == []
    assert "What was not checked" in shown
    assert any(
        "nobody.invalid/a.png" in url for url in _asked(tmp_path / "curious" / "page.html", tmp_path / "curious")[0]
    )


MEASURED = """<script>addEventListener("load", () => {
  const wide = [...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
  parent.document.body.append(`beyond: ${wide.map(e => e.outerHTML.slice(0, 60)).join(" | ")} end`);
})</script>"""


@pytest.mark.skipif(BROWSER is None, reason="there is no browser here")
@pytest.mark.parametrize("width", [375, 500])
def test_every_verdict_is_in_sight_on_a_phone(width: int, tmp_path: Path) -> None:
    """The tables of the report on verdicts, with a digest, long names and a verdict that has changed."""
    changed = join([tag("span", word, cls=f"badge {word}") for word in ("violated", "proved")], " → ")
    rule = tag("code", "needless_stop_pays_less_than_it_costs")
    said = "Less than a second behind a slower car is never worth more than an ordinary moment."
    subjects = table((), [("reward Base", "patch for closing_in_capped, speeding_capped", _digest())], "subjects")
    overview = table(("rule", "what it says", "severity", "verdict"), [(rule, said, "should", changed)], "overview")
    facts = table((), [(tag("code", "quantile(R(demos), 1/2)"), _digest())], "facts")
    listed = tag("ul", tag("li", f"follows from the rows (sha256:{'0f' * 32})"))
    style = files("rewarden.report").joinpath("style.css").read_text(encoding="utf-8")
    body = tag("main", subjects, overview, tag("section", facts, listed, cls="card"))
    page = f"<!doctype html><style>{style}</style>{body}{MEASURED}"
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    frame = f'<!doctype html><body><iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe>'
    (tmp_path / "frame.html").write_text(frame, encoding="utf-8")
    assert BROWSER is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--allow-file-access-from-files"]
    options += ["--window-size=1000,1000", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    done = subprocess.run(
        [BROWSER, *options, (tmp_path / "frame.html").as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    assert "beyond:  end" in done.stdout, done.stdout


def _digest() -> Html:
    return tag("code", f"sha256:{'0123456789abcdef' * 4}", cls="digest")
