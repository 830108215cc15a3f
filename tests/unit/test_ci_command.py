"""`rewarden ci` on tiny projects: one answer, one exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rewarden.cli import run
from tests.reference.cart import LOCAL, PROVED, SHOULD, VACUOUS, VIOLATED, write_reward, write_spec
from tests.reference.sarif import problems
from tests.unit.test_ci_outputs import _validator

CONFIG = 'specs = ["cart.rwd"]\n[rewards]\nR = "reward"\n[verify]\nbudget = 2000\n'
CLASH = "\nmust high:\n  forall s: Step\n  expect R(s) >= 200\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _project(folder: Path, *rules: str, config: str = CONFIG) -> None:
    write_reward(folder, write_spec(folder, *rules))
    (folder / "rewarden.toml").write_text(config)


@pytest.mark.parametrize(
    "rules, fail_on, status",
    [
        ([PROVED], "must", 0),
        ([PROVED, SHOULD], "must", 0),
        ([PROVED, SHOULD], "should", 1),
        ([PROVED, LOCAL], "must", 3),
        ([PROVED, LOCAL], "unknown", 1),
        ([PROVED, VIOLATED, LOCAL], "must", 1),
        ([PROVED, VACUOUS], "must", 1),
        ([PROVED, CLASH], "must", 1),
        ([], "must", 2),
    ],
)
def test_exit_statuses(tmp_path: Path, rules: list[str], fail_on: str, status: int) -> None:
    _project(tmp_path, *rules)
    assert run(["ci", "--fail-on", fail_on]) == status


def test_a_broken_spec_does_not_hide_what_the_others_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _project(tmp_path, VIOLATED, config=CONFIG.replace('["cart.rwd"]', '["cart.rwd", "broken.rwd", "none.rwd"]'))
    (tmp_path / "broken.rwd").write_text("spec broken v1\n\nfeatures S {\n  x : real [kmm] in 0 .. 1\n}\n")
    assert run(["ci", "--json", "o.json"]) == 2
    out, err = capsys.readouterr()
    assert "violated  must" in out
    assert "broken.rwd:4:" in err
    assert "error[G20]" in err
    told = json.loads((tmp_path / "o.json").read_text())
    assert [len(r["troubles"]) > 0 for r in told["runs"]] == [False, True, True]
    _validator("ci.schema.json").validate(told)


def test_an_internal_error_is_the_worst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _project(tmp_path, VIOLATED, config=CONFIG.replace('["cart.rwd"]', '["none.rwd", "cart.rwd"]'))
    assert run(["ci"]) == 2
    monkeypatch.setattr("rewarden.ci.run.findings_of", lambda *a: 1 / 0)
    assert run(["ci", "--no-cache", "--sarif", "o.sarif"]) == 5
    log = json.loads((tmp_path / "o.sarif").read_text())
    assert problems(log) == []
    said = [n["message"]["text"] for n in log["runs"][0]["invocations"][0]["toolExecutionNotifications"]]
    assert any("ZeroDivisionError" in text for text in said)


def test_a_rule_that_nothing_has_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _project(tmp_path, PROVED, VIOLATED)
    assert run(["ci", "--rule", "bounded"]) == 0
    assert run(["ci", "--rule", "bounded", "--rule", "slwo"]) == 2
    assert "no spec has a rule slwo\n   = help: did you mean slow?" in capsys.readouterr().err
    assert run(["ci", "--rule", "slwo"]) == 2
    assert "did you mean slow?" in capsys.readouterr().err
    (tmp_path / "rewarden.toml").write_text(
        '[[run]]\nspec = "cart.rwd"\nrules = ["gone"]\nrewards = { R = "reward" }\n'
    )
    assert run(["ci"]) == 2
    text = (tmp_path / "rewarden.toml").read_text().replace("gone", "bounded")
    (tmp_path / "rewarden.toml").write_text(text)
    assert run(["ci", "--rule", "slow"]) == 2
    assert "no run looks at a rule slow" in capsys.readouterr().err


def test_runs_have_artifacts_params_and_budgets_of_their_own(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, VIOLATED)
    write_reward(tmp_path, spec)
    write_reward(tmp_path, spec, "low", bias=-100.0)
    text = '[[run]]\nspec = "cart.rwd"\nrewards = { R = "reward" }\n[run.params]\ntop = "1 [m/s]"\n'
    text += '[[run]]\nspec = "cart.rwd"\nrewards = { R = "low" }\nrules = ["slow"]\nverify = { budget = 500 }\n'
    (tmp_path / "rewarden.toml").write_text(text)
    assert run(["ci", "--json", "o.json"]) == 1
    told = json.loads((tmp_path / "o.json").read_text())
    assert [r["rules"][0]["verdict"] for r in told["runs"]] == ["violated", "proved"]
    assert told["runs"][0]["rules"][0]["fingerprint"] != told["runs"][1]["rules"][0]["fingerprint"]


@pytest.mark.parametrize(
    "text",
    [
        "[[run]]\nspce = 'a'",
        "[[run]]\nrules = ['a']",
        "[run]\nspec = 'a'",
        "[[run]]\nspec = 'a'\nrewards = 3",
        "[[run]]\nspec = 'a'\n[run.verify]\nbugdet = 3",
        "[ci]\nfail_on = 3",
        "[ci]\nfial_on = 'must'",
        "[ci]\nfail_on = 'musst'",
    ],
)
def test_mistakes_in_the_configuration_are_errors(tmp_path: Path, text: str) -> None:
    _project(tmp_path, PROVED, config=CONFIG + text + "\n")
    assert run(["ci"]) == 2


def test_without_a_configuration_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ci"]) == 2
    assert "G71" in capsys.readouterr().err


def test_no_form_changes_the_status_or_the_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _project(tmp_path, PROVED, VIOLATED, SHOULD, LOCAL)
    assert run(["ci"]) == 1
    plain = capsys.readouterr().out
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    forms = ["--json", "a.json", "--sarif", "a.sarif", "--junit", "a.xml"]
    assert run(["ci", *forms]) == 1
    out = capsys.readouterr().out
    assert plain in out
    assert "::error file=cart.rwd,line=20,col=1,title=slow is violated::" in out
    assert summary.read_text().startswith("## Rewarden")
    assert run(["ci", "--no-github", *(form.replace("a.", "b.") for form in forms)]) == 1
    assert capsys.readouterr().out == plain
    for kind in ("json", "sarif", "xml"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    _validator("ci.schema.json").validate(json.loads((tmp_path / "a.json").read_text()))
    assert problems(json.loads((tmp_path / "a.sarif").read_text())) == []
    assert run(["ci", "--sarif", "no/folder.sarif"]) == 2


def test_verify_writes_the_same_forms_and_errors_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _project(tmp_path, PROVED, VIOLATED)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert run(["verify", "--sarif", "v.sarif", "--junit", "v.xml", "--json", "v.json"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("::stop-commands::")
    assert "::error file=cart.rwd,line=20" in out
    log = json.loads((tmp_path / "v.sarif").read_text())
    assert problems(log) == []
    assert [r["ruleId"] for r in log["runs"][0]["results"]] == ["cart/slow"]
    _validator("result.schema.json").validate(json.loads((tmp_path / "v.json").read_text()))
    assert "<failure" in (tmp_path / "v.xml").read_text()
    (tmp_path / "cart.rwd").write_text("spec cart v1\n\nreward R(s: Stpe)\n")
    assert run(["verify", "--sarif", "v.sarif", "--junit", "v.xml"]) == 2
    log = json.loads((tmp_path / "v.sarif").read_text())
    assert problems(log) == []
    (told,) = log["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert told["locations"][0]["physicalLocation"]["region"]["startLine"] == 3
    assert "<error" in (tmp_path / "v.xml").read_text()


def test_waivers_and_what_is_said_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _project(tmp_path, PROVED, VIOLATED, config=CONFIG + '[ci]\nwaivers = "waivers.toml"\n')
    (tmp_path / "waivers.toml").write_text("")
    assert run(["ci", "--json", "o.json"]) == 1
    prints = [r["fingerprint"] for r in json.loads((tmp_path / "o.json").read_text())["runs"][0]["rules"]]
    assert prints[1] in capsys.readouterr().out
    text = '[[waiver]]\nfingerprint = "{}"\nowner = "ada"\nreason = "known"\nexpires = {}\n'
    (tmp_path / "waivers.toml").write_text(text.format(prints[1], "9999-01-01"))
    assert run(["ci", "--junit", "o.xml"]) == 0
    assert "waived by ada until 9999-01-01: known" in capsys.readouterr().out
    assert "<skipped" in (tmp_path / "o.xml").read_text()
    both = text.format(prints[1], "2001-01-01") + text.format("rwf1:" + "0" * 32, "9999-01-01")
    (tmp_path / "waivers.toml").write_text(both)
    assert run(["ci"]) == 1
    out = capsys.readouterr().out
    assert "expired on 2001-01-01: slow fails again" in out
    assert "matches no rule" in out
    (tmp_path / "waivers.toml").write_text("[[waiver]]\n")
    assert run(["ci"]) == 2


def test_places_are_named_from_the_root_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a b"
    inner.mkdir()
    _project(inner, VIOLATED, config=CONFIG.replace('["cart.rwd"]', '["cart.rwd", "none.rwd"]'))
    deep = inner / "deep"
    deep.mkdir()
    for folder in (inner, deep):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
        assert run(["ci", "--sarif", "o.sarif"]) == 2
        text = (folder / "o.sarif").read_text()
        assert problems(json.loads(text)) == []
        assert '"uri": "a%20b/cart.rwd"' in text
        assert '"uri": "a%20b/none.rwd"' in text


@pytest.mark.parametrize("name", ["a\n::error::b,c:%.rwd", "]]><b>|`x`.rwd"])
def test_files_whose_names_mean_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    from xml.etree import ElementTree

    _project(tmp_path, VIOLATED)
    (tmp_path / "cart.rwd").rename(tmp_path / name)
    (tmp_path / "rewarden.toml").write_text(CONFIG.replace('"cart.rwd"', json.dumps(name)))
    assert run(["ci", "--github", "--json", "o.json", "--sarif", "o.sarif", "--junit", "o.xml"]) == 1
    assert all(not line.lstrip().startswith("::error::") for line in capsys.readouterr().out.splitlines())
    assert problems(json.loads((tmp_path / "o.sarif").read_text())) == []
    ElementTree.fromstring((tmp_path / "o.xml").read_bytes())


def test_a_baseline_does_not_outlive_a_waiver(tmp_path: Path) -> None:
    _project(tmp_path, VIOLATED)
    assert run(["ci", "--json", "a.json"]) == 1
    mark = json.loads((tmp_path / "a.json").read_text())["runs"][0]["rules"][0]["fingerprint"]
    text = f'[[waiver]]\nfingerprint = "{mark}"\nowner = "ada"\nreason = "known"\nexpires = '
    (tmp_path / "w.toml").write_text(text + "9999-01-01\n")
    assert run(["ci", "--waivers", "w.toml", "--json", "b.json"]) == 0
    (tmp_path / "w.toml").write_text(text + "2001-01-01\n")
    assert run(["ci", "--waivers", "w.toml", "--against", "b.json"]) == 1
    assert run(["ci", "--against", "a.json"]) == 0


def test_the_page_shows_files_that_are_read(tmp_path: Path) -> None:
    import re

    from rewarden.ci.waivers import load_waivers
    from rewarden.config import load_config

    page = (Path(__file__).resolve().parents[2] / "docs" / "ci.md").read_text()
    config, waivers = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "rewarden.toml").write_text(config)
    (tmp_path / "waivers.toml").write_text(waivers)
    found = load_config(tmp_path / "rewarden.toml")
    assert [r.rules for r in found.all_runs()] == [(), ("slow_near",)]
    assert found.place("waivers") == tmp_path / "waivers.toml"
    assert len(load_waivers(tmp_path / "waivers.toml")) == 1


def test_only_new_violations_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _project(tmp_path, PROVED, VIOLATED)
    assert run(["ci", "--json", "ci.json"]) == 1
    assert run(["verify", "--json", "verify.json", "--certificate", "cert"]) == 1
    capsys.readouterr()
    for baseline in ("ci.json", "verify.json", "cert"):
        assert run(["ci", "--against", baseline]) == 0
        assert "known from the baseline" in capsys.readouterr().out
    # The next reward breaks the same rule: known. Another claim, or another rule: new.
    write_reward(tmp_path, tmp_path / "cart.rwd", "next", bias=1.0)
    (tmp_path / "rewarden.toml").write_text(CONFIG.replace('"reward"', '"next"'))
    for baseline in ("ci.json", "cert"):
        assert run(["ci", "--against", baseline]) == 0
    write_spec(tmp_path, PROVED, VIOLATED.replace("<= 3", "<= 2"))
    for baseline in ("ci.json", "verify.json", "cert"):
        assert run(["ci", "--against", baseline]) == 1
    write_spec(tmp_path, PROVED.replace("100", "1"), VIOLATED)
    for baseline in ("ci.json", "cert"):
        assert run(["ci", "--against", baseline]) == 1


def test_a_known_violation_by_one_reward_hides_none_by_another(tmp_path: Path) -> None:
    """Two runs of one spec: a fingerprint knows no rewards."""
    _project(tmp_path, VIOLATED)
    for name, bias in (("a", 0.0), ("b", -1000.0), ("c", 0.5), ("d", 0.75)):
        write_reward(tmp_path, tmp_path / "cart.rwd", name, bias=bias)

    def with_rewards(*names: str) -> None:
        runs = "".join(f'[[run]]\nspec = "cart.rwd"\nrewards = {{ R = "{name}" }}\n' for name in names)
        (tmp_path / "rewarden.toml").write_text(runs + "[verify]\nbudget = 2000\n")

    with_rewards("a", "b")
    assert run(["ci", "--json", "ci.json"]) == 1
    assert [r["rules"][0]["verdict"] for r in json.loads(Path("ci.json").read_text())["runs"]] == ["violated", "proved"]
    assert run(["ci", "--against", "ci.json"]) == 0
    with_rewards("a", "c")  # the second reward breaks the rule now as well
    assert run(["ci", "--against", "ci.json", "--json", "o.json"]) == 1
    assert [r["rules"][0]["known"] for r in json.loads(Path("o.json").read_text())["runs"]] == [True, False]
    with_rewards("d", "b")  # the next reward in the place of the first
    assert run(["ci", "--against", "ci.json"]) == 0
    with_rewards("d", "c")
    assert run(["ci", "--against", "ci.json"]) == 1


def test_a_rule_that_said_nothing_and_now_is_violated_is_new(tmp_path: Path) -> None:
    _project(tmp_path, "\nmust high:\n  forall s: Step\n  given R(s) >= 500\n  expect R(s) <= 3\n")
    write_reward(tmp_path, tmp_path / "cart.rwd", "next", bias=1000.0)
    assert run(["ci", "--json", "ci.json"]) == 1
    assert json.loads((tmp_path / "ci.json").read_text())["runs"][0]["rules"][0]["verdict"] == "vacuous"
    assert run(["ci", "--against", "ci.json"]) == 0
    (tmp_path / "rewarden.toml").write_text(CONFIG.replace('"reward"', '"next"'))
    assert run(["ci", "--against", "ci.json", "--json", "o.json"]) == 1
    assert json.loads((tmp_path / "o.json").read_text())["runs"][0]["rules"][0]["verdict"] == "violated"


def test_what_is_no_baseline(tmp_path: Path) -> None:
    _project(tmp_path, PROVED, VIOLATED)
    for name, text in {"a": "{", "b": "[]", "c": '{"rules": [{"verdict": "violated"}]}', "d": "[" * 100_000}.items():
        (tmp_path / name).write_text(text)
        assert run(["ci", "--against", name]) == 2
    assert run(["ci", "--against", "none"]) == 2
    assert run(["verify", "--certificate", "cert"]) == 1
    claims = tmp_path / "cert" / "claims.json"
    claims.write_bytes(claims.read_bytes().replace(b"slow", b"slew"))
    assert run(["ci", "--against", "cert"]) == 4
    (tmp_path / "empty").mkdir()
    assert run(["ci", "--against", "empty"]) == 4


def test_a_run_in_which_nothing_has_changed_is_light_and_says_the_same(tmp_path: Path) -> None:
    _project(tmp_path, PROVED, VIOLATED, SHOULD)
    code = "import sys, rewarden.verdict_cache as kept; kept.code_digest = lambda: 'one and the same'\n"
    code += "from rewarden.cli import run; status = run(['ci', '--json', sys.argv[1]]); "
    code += "print([m for m in ('torch', 'z3', 'matplotlib', 'numpy', 'lark', 'pint') if m in sys.modules], status)"
    said = []
    for name in ("a.json", "b.json"):
        done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=True)
        said.append(done.stdout)
    assert said[1].splitlines()[-1] == "[] 1"
    assert said[0].splitlines()[:-1] == said[1].splitlines()[:-1]
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_checks_are_kept_for_the_text_that_they_are_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import os

    _project(tmp_path, PROVED)
    assert run(["ci"]) == 0
    assert "cart.rwd:11:6: warning[S07]" in capsys.readouterr().out
    text = (tmp_path / "cart.rwd").read_text()
    (tmp_path / "cart.rwd").write_text("# one more line\n" + text)
    assert run(["ci"]) == 0
    assert "cart.rwd:12:6: warning[S07]" in capsys.readouterr().out
    for path in (Path(os.environ["XDG_CACHE_HOME"]) / "rewarden" / "checks").glob("*.json"):
        path.write_text(path.read_text().replace("nothing uses", "all is well with"))
    assert run(["ci"]) == 0
    out, err = capsys.readouterr()
    assert "nothing uses" in out
    assert "ignored" in err


# ── certificates ───────────────────────────────────────────────────────────────────────────────
CERTIFIED = f"{CONFIG}[ci]\ncertificate = 'certificate'\n"


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    return out + err


def test_a_certificate_has_to_be_about_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _project(tmp_path, PROVED, config=CERTIFIED)
    assert run(["ci"]) == 2  # there is none yet
    assert "no certificate folder" in _said(capsys)
    assert run(["certify", "cart.rwd", "-r", "R=reward", "-o", "certificate"]) == 0
    assert run(["ci"]) == 0
    write_reward(tmp_path, write_spec(tmp_path, PROVED, SHOULD))  # the spec has changed since
    assert run(["ci"]) == 4
    assert "the certificate is rejected" in _said(capsys)
    assert run(["ci", "--rule", "bounded"]) == 0  # a part of the rules


def test_the_kernel_is_asked_once_about_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rewarden.certificate import check as kernel
    from rewarden.certificate import match

    asked: list[Path] = []
    honest = kernel.check
    for module in (kernel, match):
        monkeypatch.setattr(module, "check", lambda folder, *rest: (asked.append(folder), honest(folder, *rest))[1])
    _project(tmp_path, PROVED, config=CERTIFIED)
    assert run(["certify", "cart.rwd", "-r", "R=reward", "-o", "certificate"]) == 0
    assert run(["ci"]) == 0
    assert run(["ci"]) == 0
    assert len(asked) == 1
    assert run(["ci", "--no-cache"]) == 0
    assert len(asked) == 2
    (proof,) = (tmp_path / "certificate" / "proofs").iterdir()
    whole = proof.read_bytes()
    proof.write_bytes(whole.replace(b"1", b"2"))
    assert run(["ci"]) == 4
    proof.write_bytes(whole)
    assert run(["ci"]) == 0
    (proof.parent / "more.json").write_bytes(whole)
    assert run(["ci"]) == 4
    assert "belongs to no claim" in _said(capsys)
    (proof.parent / "more.json").unlink()
    proof.rename(tmp_path / "elsewhere.json")
    proof.symlink_to(tmp_path / "elsewhere.json")
    assert run(["ci"]) == 4  # links are refused, whatever was said of the same bytes


def test_a_kept_answer_of_the_kernel_is_not_taken_for_another(tmp_path: Path) -> None:
    import os

    _project(tmp_path, PROVED, config=CERTIFIED)
    assert run(["certify", "cart.rwd", "-r", "R=reward", "-o", "certificate"]) == 0
    (proof,) = (tmp_path / "certificate" / "proofs").iterdir()
    proof.write_bytes(proof.read_bytes().replace(b"1", b"2"))
    assert run(["ci"]) == 4
    for path in (Path(os.environ["XDG_CACHE_HOME"]) / "rewarden" / "checks").glob("*.json"):
        path.write_text(path.read_text().replace('"refused"', '"proved"'))  # its digest fits no more
    assert run(["ci"]) == 4


def test_a_certificate_is_held_to_the_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _project(tmp_path, PROVED, config=f"{CERTIFIED}policy = 'policy.toml'\n")
    assert run(["keys", "new", "me.pem"]) == 0
    assert run(["keys", "new", "you.pem"]) == 0
    (tmp_path / "policy.toml").write_text('[[role]]\nname = "auditor"\nkeys = ["you.pub.pem"]\n')
    assert run(["certify", "cart.rwd", "-r", "R=reward", "-o", "certificate", "--key", "me.pem"]) == 0
    assert run(["ci"]) == 4
    assert run(["sign", "certificate", "--key", "you.pem"]) == 0
    assert run(["ci"]) == 0
    (tmp_path / "policy.toml").write_text("[[role]]\n")
    assert run(["ci"]) == 2
    assert "name must be text" in _said(capsys)


def test_one_certificate_for_several_specs_makes_no_sense(tmp_path: Path) -> None:
    _project(tmp_path, PROVED, config=CERTIFIED.replace('["cart.rwd"]', '["cart.rwd", "cart.rwd"]'))
    assert run(["ci"]) == 2


def test_a_configuration_that_cannot_be_used_is_told_in_every_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _project(tmp_path, PROVED, config="specs = 3\n")
    assert run(["ci", "--json", "o.json", "--sarif", "o.sarif", "--junit", "o.xml", "--github"]) == 2
    out, err = capsys.readouterr()
    assert "error[G03]" in err
    assert "::error title=G03::" in out
    told = json.loads((tmp_path / "o.json").read_text())
    _validator("ci.schema.json").validate(told)
    assert [trouble["code"] for trouble in told["troubles"]] == ["G03"]
    log = json.loads((tmp_path / "o.sarif").read_text())
    assert problems(log) == []
    assert log["runs"][0]["invocations"][0]["exitCode"] == 2
    assert 'errors="1"' in (tmp_path / "o.xml").read_text()
    (tmp_path / "rewarden.toml").write_text(CONFIG)
    assert run(["ci", "--fail-on", "shuld", "--sarif", "p.sarif"]) == 2
    assert (tmp_path / "p.sarif").exists()
