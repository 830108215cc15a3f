"""The language's pages hold what they say: every example checks, is formatted, and has the verdict that it claims."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from rewarden.codes import explanations
from rewarden.reward.artifact import Artifact
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang import Spec, SpecError, parse_spec
from rewarden.spec_lang.format.formatter import format_text
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.portfolio import verify
from tests.reference import error_page
from tests.reference.doc_pages import Example, blocks, examples, modules, write_data

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [DOCS / "language.md", DOCS / "cookbook.md"]
EXAMPLES = {example.name: example for page in PAGES for example in examples(page)}
RIGHT = [name for name, example in EXAMPLES.items() if not example.block.words.startswith("wrong")]
WRONG = [name for name, example in EXAMPLES.items() if example.block.words.startswith("wrong")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("docs")
    for page in PAGES:
        write_data(page, place)
        for block in blocks(page):
            if block.language == "rwd" and block.words.startswith("file "):
                (place / block.words.partition(" ")[2]).write_text(block.text)
    return place


def load(name: str, folder: Path) -> Spec:
    return parse_spec(EXAMPLES[name].text, name, base=folder)


@cache
def network(page: str, reward: str) -> torch.nn.Module:
    found = modules(DOCS / f"{page}.md")[reward]
    assert isinstance(found, torch.nn.Module)
    return found


def bound(name: str, spec: Spec, rules: set[str]) -> dict[str, Artifact]:
    wanted = {reward for rule in spec.rules if rule.name in rules for reward in rule.rewards}
    page = name.partition(":")[0]
    return {
        reward: from_torch(network(page, reward), tuple((p, spec.features[k]) for p, k in spec.rewards[reward].params))
        for reward in sorted(wanted)
    }


@pytest.mark.parametrize("name", RIGHT)
def test_examples_check(name: str, folder: Path) -> None:
    assert load(name, folder).tree.items


@pytest.mark.parametrize("name", WRONG)
def test_wrong_examples_are_refused_as_told(name: str, folder: Path) -> None:
    with pytest.raises(SpecError) as refusal:
        load(name, folder)
    assert [d.code for d in refusal.value.diagnostics] == EXAMPLES[name].block.words.split()[1:]


@pytest.mark.parametrize("name", [*RIGHT, *WRONG])
def test_examples_are_formatted(name: str) -> None:
    example = EXAMPLES[name]
    assert format_text(example.text, name) == example.text


@pytest.mark.parametrize("name", [n for n in RIGHT if EXAMPLES[n].block.verdicts()])
def test_verdicts_are_as_told(name: str, folder: Path) -> None:
    example: Example = EXAMPLES[name]
    spec = load(name, folder)
    told = example.block.verdicts()
    result = verify(spec, bound(name, spec, set(told)), VerifyOptions(falsify_budget=20_000), rules=list(told))
    assert {r.rule: r.verdict.value for r in result} == told


def test_every_rule_of_the_cookbook_has_a_verdict() -> None:
    for name in RIGHT:
        example = EXAMPLES[name]
        rules = re.findall(r"^(?:must|should) (\w+):", example.block.text, re.MULTILINE)
        assert set(rules) == set(example.block.verdicts()), name


def test_the_cookbook_has_its_patterns() -> None:
    headings = re.findall(r"^## (.+)$", (DOCS / "cookbook.md").read_text("utf-8"), re.MULTILINE)
    assert len(headings) >= 15


def test_the_error_page_is_up_to_date() -> None:
    assert {code[0] for code in explanations()} <= set(error_page.FAMILIES)
    assert error_page.PAGE.read_text("utf-8") == error_page.render(), "run python -m tests.reference.error_page"
