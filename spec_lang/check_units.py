"""What the checker says about units: comparisons, sums and assignments of unlike quantities."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from rewarden.spec_lang import syntax, units
from rewarden.spec_lang.errors import Label
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.numerals import decimal
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.symbols import Symbols
from rewarden.spec_lang.types import UNKNOWN, NumberType, UnknownType, derived


class UnitMessages:
    """Compares dimensions and reports U codes."""

    def __init__(self, symbols: Symbols, findings: Findings) -> None:
        self.symbols = symbols
        self.findings = findings

    def unit(self, text: str | None, span: Span) -> units.Unit | None:
        """The unit, or None (reported) where it is refused."""
        try:
            return units.unit_or_plain(text)
        except units.UnitError as error:
            self.findings.add(error.code, error.message, span, help=error.help)
            return None

    def affine(self, found: NumberType, span: Span, what: str) -> None:
        help = "a reading in a unit with an offset only compares; declare the feature in K to compute with it"
        self.findings.add("U04", f"`{what}` of a reading in {found.unit}", span, help=help)

    def compare(self, left: NumberType, right: NumberType, a: syntax.Expr, b: syntax.Expr) -> bool:
        return self._agree(left, right, a, b, "compare {} with {}")

    def join(
        self, left: NumberType, right: NumberType, a: syntax.Expr, b: syntax.Expr, verb: str
    ) -> NumberType | UnknownType:
        """The type of a sum or a choice of two quantities."""
        forms = {
            "add": "add {} and {}",
            "subtract": "subtract {1} from {0}",
            "compare": "compare {} with {}",
            "choose between": "choose between {} and {}",
        }
        if not self._agree(left, right, a, b, forms[verb]):
            return UNKNOWN
        known = right if left.dimension is None else left
        computed = left.computed or right.computed or verb in ("add", "subtract")
        if left.unit == right.unit or None in (left.dimension, right.dimension):
            return replace(known, computed=computed)
        if left.affine or right.affine:
            return replace(known, affine=True)
        return replace(derived(known.dimension, known.size), computed=computed)

    def assign(self, name: str, wanted: NumberType, found: NumberType, value: syntax.Expr) -> bool:
        """Whether a feature may take the value."""
        if wanted.dimension == found.dimension and wanted.affine == found.affine:
            return True
        if found.dimension is None or wanted.dimension is None:
            if not wanted.affine:
                return True
            message = f"0 needs a unit: {wanted.unit} has an offset"
            self.findings.add("U04", message, value.span, help=f"write 0 [{wanted.unit}]")
            return False
        if wanted.dimension == found.dimension:
            message = f"{name} is a reading in {_unit(wanted)}, this is {_unit(found)}"
            self.findings.add("U04", message, value.span, help=f"write it in {_unit(wanted)}")
            return False
        code, help = self._remedy(wanted, found, value)
        message = f"{name} is {_in_unit(wanted)}, not {_in_unit(found)}"
        self.findings.add(code, message, (Label(value.span, _kind(found)),), help=help)
        return False

    def _agree(self, left: NumberType, right: NumberType, a: syntax.Expr, b: syntax.Expr, form: str) -> bool:
        if left.dimension is None and right.dimension is None:
            return True
        if left.dimension is None or right.dimension is None:
            known, zero = (right, a) if left.dimension is None else (left, b)
            if not known.affine:
                return True
            message = f"0 needs a unit: {known.unit} has an offset"
            self.findings.add("U04", message, zero.span, help=f"write 0 [{known.unit}]")
            return False
        if left.dimension == right.dimension:
            if not ((left.affine and right.computed) or (left.computed and right.affine)):
                return True
            reading, computed, expr = (left, right, b) if left.affine else (right, left, a)
            if isinstance(a if left.affine else b, syntax.Field | syntax.Index):
                return True  # a feature is the reading that it is declared to be; a number may be meant otherwise
            message = f"cannot {form.format(_unit(left), _unit(right))}: what is computed may be a difference"
            apart = f"0 [{reading.unit}] as a reading is {_zero(reading)} [K], as a difference 0 [K]"
            label = Label(expr.span, f"computed, in {_unit(computed)}")
            self.findings.add("U04", message, (label,), help=f"write all of it in K: {apart}")
            return False
        fixed, loose, literal = (left, right, b) if not isinstance(a, syntax.Number) else (right, left, a)
        code, help = self._remedy(fixed, loose, literal)
        labels = (Label(a.span, _kind(left)), Label(b.span, _kind(right)))
        related = self._declared(a) or self._declared(b)
        message = "cannot " + form.format(_unit(left), _unit(right))
        self.findings.add(code, message, labels, related=related, help=help)
        return False

    def _remedy(self, wanted: NumberType, found: NumberType, value: syntax.Expr) -> tuple[str, str | None]:
        """The code and what to write instead."""
        assert wanted.dimension is not None
        assert found.dimension is not None
        literal = value if isinstance(value, syntax.Number) else None
        if units.same_but_for_angle(wanted.dimension, found.dimension):
            help = f"π has no exact fraction: write the number in {wanted.unit}, rounded as you see fit"
            if literal is not None and literal.unit is not None:
                turned = self._turned(literal, wanted, found)
                help = f"π has no exact fraction: write {turned} [{wanted.unit}], or as many digits as you need"
            return "U03", help
        if literal is not None:
            text = literal.span.text.split("[")[0].split("%")[0].strip()
            return "U02", f"write {text} [{wanted.unit}]" if wanted.dimension else f"write {text}, without a unit"
        return "U02", None

    def _turned(self, literal: syntax.Number, wanted: NumberType, found: NumberType) -> str:
        """A literal in degrees as about as many radians, or the other way round; for a message only."""
        assert wanted.dimension is not None
        assert found.dimension is not None
        power = units.degrees_to_radians(found.dimension, wanted.dimension)
        factor = units.unit_or_plain(literal.unit).factor / units.unit_or_plain(wanted.unit).factor
        return f"{float(literal.value * factor * Fraction(math.pi / 180) ** power):.6g}"

    def _declared(self, expr: syntax.Expr) -> str | None:
        """Where the feature or parameter of an operand has its unit from."""
        match expr:
            case syntax.Field(name=name):
                found = [f for (_, feature), f in self.symbols.fields.items() if feature == name]
                if len(found) != 1:
                    return None
                text = f"{found[0].kind}{f' [{found[0].unit}]' if found[0].unit else ''}"
                where = found[0].name_span
            case syntax.Name(name=name) if name in self.symbols.params:
                p = self.symbols.params[name]
                text = f"{p.kind}{f' [{p.unit}]' if p.unit else ''}"
                where = p.name_span
            case syntax.Index(base=base):
                return self._declared(base)
            case _:
                return None
        return f"{name} is declared {text} at {where.source.name}:{where.line}"


def _zero(found: NumberType) -> str:
    """What 0 in the unit is in K."""
    offset = units.unit_or_plain(found.unit).offset
    return decimal(offset) if "/" not in decimal(offset) else f"about {float(offset):.6g}"  # 45967 / 180 [K] is no K


def _unit(found: NumberType) -> str:
    return found.unit if found.unit else "a plain number"


def _in_unit(found: NumberType) -> str:
    return f"in {found.unit}" if found.unit else "a plain number"


def _kind(found: NumberType) -> str:
    return units.dimension_name(found.dimension or ())
