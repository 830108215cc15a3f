"""Rules about a share of rows, compared by the counts of rows that they ask for.

Two such rules that count the same thing over the same n rows differ only in how many rows are enough: `share(q) >= 0.6`
and `>= 0.5` both ask for 2 of 3. With a confidence the counts are those of the binomial test (`share_counts`), just as
exact. Where the counts of one rule include those of the other, it follows; so it does where, of the same rows, one
counts only what the other counts as well.

Else a reward is looked for which the one rule accepts and the other does not: a table over the records of the rows, by
bisection (`share_tables`) or, of few different rows, from Z3, and judged once more by the exact evaluator, as each spec
wrote the rule. If no reward has such counts, by proof (each row occurs twice, or q does not depend on rewards), the
rules do not differ there.

A premise that reads rewards makes n depend on the reward; then levels and confidences are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from rewarden.spec_lang.compare.align import Aligned
from rewarden.spec_lang.compare.data import Matrix
from rewarden.spec_lang.compare.frame import Frame
from rewarden.spec_lang.compare.share_rewards import apart
from rewarden.spec_lang.compare.share_rows import (
    Question,
    Shares,
    counted_rows,
    moves_with_rewards,
    same_count,
    same_data,
)
from rewarden.spec_lang.compare.z3 import Budget, Differ, Scope
from rewarden.spec_lang.obligation import TRUE, Share
from rewarden.spec_lang.share_counts import enough, refuting


def share_entails(
    frame: Frame,
    data: Mapping[str, Matrix],
    budget: Budget,
    strong: Aligned,
    weak: Aligned,
    *,
    refute: bool = True,
) -> Shares:
    """Does every reward that satisfies `strong` satisfy `weak`?"""
    question = Question(frame, data, budget, strong, weak)
    if _follows(question):
        return Shares("proved")
    return apart(question) if refute else Shares("unknown")


def _follows(question: Question) -> bool:
    """By what the two count and how many are enough."""
    strong, weak = question.accepting, question.refusing
    assert strong.share is not None
    assert weak.share is not None
    if moves_with_rewards(weak):
        return same_count(strong, weak) and _at_least_as_strict(strong.share, weak.share)
    rows = counted_rows(weak)
    if not rows:
        return True
    if moves_with_rewards(strong):
        return False
    theirs = counted_rows(strong)
    asked = enough(strong.share, len(theirs)) if theirs else range(len(theirs) + 1)
    if not asked:
        return True
    if strong.share.op[0] != weak.share.op[0] or not same_data(strong, weak):
        return False
    wanted = enough(weak.share, len(rows))
    if strong.share.op[0] == ">":  # of the rows that both count at least as many
        follows = max(0, asked.start - len(set(theirs) - set(rows))) in wanted
    else:
        follows = min(len(rows), asked.stop - 1 + len(set(rows) - set(theirs))) in wanted
    return follows and (same_count(strong, weak) or _counts_no_more(question))


def _counts_no_more(question: Question) -> bool:
    """Does a row that the one counts count for the other too, where more is better, or the other way round?"""
    few, many = question.accepting, question.refusing
    assert few.share is not None
    assert many.share is not None
    if few.share.op[0] != many.share.op[0]:
        return False
    if few.share.op[0] == "<":
        few, many = many, few
    differ = Differ(question.frame, question.data, question.budget)
    plain = [replace(part, share=None, premise=TRUE) for part in (many, few)]
    return differ.ask(plain[0], plain[1:], Scope()).status == "unsat"


def counts_note(old: Aligned, new: Aligned) -> str:
    """What the two ask of the rows, where both can be counted: a sentence for the reviewer."""
    assert old.share is not None
    assert new.share is not None
    if not same_count(old, new) or moves_with_rewards(old) or old.share == new.share:
        return ""
    n = len(counted_rows(old))
    if n == 0:
        return "no row satisfies the premise"
    asked, wanted = _asked(old.share, n), _asked(new.share, n)
    text = f"of {n} rows OLD asks for {asked}, NEW for {wanted}"
    if asked == wanted and refuting(old.share, n) != refuting(new.share, n):
        text += "; fewer are violations to the one and left open by the other"
    return text


def _asked(share: Share, n: int) -> str:
    counts = enough(share, n)
    if not counts:
        return "more than there are"
    return f"at least {counts.start}" if share.op in (">", ">=") else f"at most {counts.stop - 1}"


def _at_least_as_strict(asked: Share, wanted: Share) -> bool:
    """Does `asked` imply `wanted`, for one and the same count? A confidence of at least 1/2 only asks for more: the
    Clopper–Pearson bound is then on the safe side of the share itself."""
    if asked.op[0] != wanted.op[0]:
        return False
    more = asked.level - wanted.level if asked.op[0] == ">" else wanted.level - asked.level
    if more < 0 or (more == 0 and len(wanted.op) < len(asked.op)):
        return False
    if wanted.confidence is None:
        return asked.confidence is None or asked.confidence >= Fraction(1, 2)
    return asked.confidence is not None and asked.confidence >= wanted.confidence
