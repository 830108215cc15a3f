"""Which records there are at all: ranges, enum cases and assumptions of each record type, compared."""

from __future__ import annotations

from collections.abc import Mapping

from rewarden.spec_lang.compare.align import Aligned, same
from rewarden.spec_lang.compare.frame import Frame, Side, Unmatched, other
from rewarden.spec_lang.compare.instances import occurs
from rewarden.spec_lang.compare.model import DomainChange, Entailment
from rewarden.spec_lang.compare.z3 import Budget, Differ, Scope
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.naming import FeatureValue, named_records
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.spec import Spec


def domain_changes(
    frame: Frame, domains: Mapping[Side, Mapping[str, Aligned]], budget: Budget, old: Spec, new: Spec
) -> tuple[DomainChange, ...]:
    """For every record type that changed; `old` and `new` are the specs as written, before features were added."""
    found: list[DomainChange] = []
    for (side, name), kind in frame.types.items():
        if side == "old" and kind.name in domains["old"] and kind.name in domains["new"]:
            theirs = next(n for (s, n), k in frame.types.items() if s == "new" and k == kind)
            messages = _messages(old.features[name], new.features[theirs])
            pair = domains["old"][kind.name], domains["new"][kind.name]
            if same(*pair):
                if messages:
                    found.append(DomainChange(name, messages, "refuted", "refuted"))
                continue
            widened, only_new = _excess(frame, pair[1], pair[0], budget)
            narrowed, only_old = _excess(frame, pair[0], pair[1], budget)
            units = {f.name: f.unit for f in kind.features}
            found.append(DomainChange(name, messages, widened, narrowed, only_new, only_old, units))
    found += _alone(frame, old, new)
    return tuple(found)


def _excess(
    frame: Frame, more: Aligned, less: Aligned, budget: Budget
) -> tuple[Entailment, Mapping[str, FeatureValue] | None]:
    """Is there a record of `more` that is none of `less`? "proved" with a record that is checked exactly."""
    differ = Differ(frame, {}, budget)
    for scope in (Scope(interior=True), Scope()):
        answer = differ.ask(more, [less], scope)
        if answer.status == "unsat" and not scope.interior:
            return "refuted", None
        if answer.values is not None:
            values = list(answer.values)
            inside = occurs(more, values)
            if inside and not occurs(less, values):
                return "proved", named_records(more.as_obligation(), values, _frame_types(frame))["row"]
    return "unknown", None


def _frame_types(frame: Frame) -> dict[str, RecordType]:
    return {kind.name: RecordType(kind.name, kind.features) for kind in frame.types.values()}


def _messages(old: RecordType, new: RecordType) -> tuple[str, ...]:
    """What reads differently in the declarations."""
    before, after = {f.name: f for f in old.features}, {f.name: f for f in new.features}
    messages = [f"{name} is gone: {_text(f)}" for name, f in before.items() if name not in after]
    messages += [f"{name} is new: {_text(f)}" for name, f in after.items() if name not in before]
    messages += [
        f"{name}: {_text(before[name])}, now {_text(f)}"
        for name, f in after.items()
        if name in before and _text(f) != _text(before[name])
    ]
    common = [name for name in before if name in after]
    if common != [name for name in after if name in before]:
        messages.append("the features are in another order")
    return tuple(messages)


def _text(f: Feature) -> str:
    if f.kind == "enum":
        return f"enum {{{', '.join(f.cases)}}}"
    if f.kind == "bool":
        return "bool"
    size = f" ^ {f.size}" if f.is_vector else ""
    unit = f" [{f.unit}]" if f.unit else ""
    return f"{f.kind}{size}{unit} in {decimal(f.lo)} .. {decimal(f.hi)}"


def _alone(frame: Frame, old: Spec, new: Spec) -> list[DomainChange]:
    """Types that came, went, or cannot be matched."""
    found: list[DomainChange] = []
    for name in old.features:
        try:
            kind = frame.type_of("old", name)
        except Unmatched as error:
            found.append(DomainChange(name, (str(error),), "unknown", "unknown"))
            continue
        if not any(s == "new" and k == kind for (s, _), k in frame.types.items()):
            found.append(DomainChange(name, ("the record type is gone",), "refuted", "proved"))
    known = {k.name for (s, _), k in frame.types.items() if s == other("new")}
    for name in new.features:
        if ("new", name) in frame.types and frame.types["new", name].name not in known:
            found.append(DomainChange(name, ("the record type is new",), "proved", "refuted"))
    return found
