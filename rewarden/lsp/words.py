"""What the language's own words mean, one sentence each; and the units that specs mostly use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """`form` is how it is written."""

    form: str
    meaning: str


BUILT_IN: dict[str, BuiltIn] = {
    "min": BuiltIn("min(a, b, …)", "The least of its arguments; `min(R(d))` is a reward's least over a data set."),
    "max": BuiltIn(
        "max(a, b, …)", "The greatest of its arguments; `max(R(d))` is a reward's greatest over a data set."
    ),
    "linf": BuiltIn("linf(v)", "The largest absolute value among the elements of a vector."),
    "l1": BuiltIn("l1(v)", "The sum of the absolute values of a vector's elements."),
    "l2": BuiltIn("l2(v)", "The Euclidean length of a vector."),
    "dot": BuiltIn("dot(v, w)", "The sum of the products of two vectors' elements, pair by pair."),
    "mean": BuiltIn("mean(R(d))", "The mean of a reward over the rows of a data set, computed when a reward is bound."),
    "quantile": BuiltIn(
        "quantile(R(d), q)",
        "The ⌈q·n⌉-th smallest value of a reward over the n rows of a data set (at least the first), computed when a "
        "reward is bound.",
    ),
    "beyond": BuiltIn(
        "beyond(g(s), p %)",
        "Holds outside a region and its rim: in each of the region's polytopes a condition fails by at least p % of "
        "the features' ranges.",
    ),
    "anchor": BuiltIn("anchor(x)", "The data row that the record x of a `near` rule lies around."),
    "sum": BuiltIn(
        "sum(R(t) discount γ)", "The sum of a reward along a trace or cycle: over its records, or over its moves."
    ),
    "first": BuiltIn("first(t)", "The first record of a trace."),
    "last": BuiltIn("last(t)", "The last record of a trace."),
    "share": BuiltIn("share(q)", "The fraction of the data's rows that satisfy q, among those that satisfy `given`."),
}

KEYWORDS: dict[str, str] = {
    "spec": "Opens a file: `spec NAME v1`.",
    "features": "Declares a record type: the features that a reward reads, with units and ranges.",
    "assume": "Says which records can occur at all; part of every rule's domain, and checked against every data row.",
    "reward": "Declares a reward as a free symbol, bound to an artifact at verification time.",
    "data": "Declares a data set: rows of records, pairs or transitions from a file.",
    "param": "Declares a constant that the command line may set.",
    "let": "Defines a number or a predicate over records.",
    "region": "Defines a predicate over records.",
    "relation": "Says which record may follow which: an abstraction of the dynamics.",
    "use": 'Brings in another spec file\'s declarations: `use "file" as name`.',
    "as": "The name under which a used file's declarations are known here.",
    "example": "Tests the spec itself: `example of RULE:` with records that its premise covers or ignores.",
    "covers": "The rule's premise holds for every completion of the record given.",
    "ignores": "The rule's premise fails for every completion of the record given.",
    "must": "A rule whose violation fails a verification run.",
    "should": "A rule whose violation is only warned of.",
    "forall": "The rule is about every record, every pair, or every row of data.",
    "varying": "The two records are equal in all features but those named here.",
    "near": "The rule is about every record within a radius of some row of a data set; `not near`: about all others.",
    "within": "How far from a data row (`near`, `not near`), or how long at most (`trace`).",
    "trace": "The rule is about all sequences of records, consecutive ones related.",
    "of": "Exactly so many steps; or the rule that an example is of.",
    "steps": "Closes the length of a trace, counted in records.",
    "via": "The relation that leads from each record to the next.",
    "cycle": "The rule is about every closed sequence of records, of any length.",
    "given": "The rule's premise: where it claims something.",
    "expect": "The rule's conclusion: what it claims.",
    "confidence": "Makes a share a one-sided statistical statement at that level.",
    "weight": "The factor of the rule's penalty in training.",
    "id": "A requirement's number, shown in reports.",
    "because": "Why the rule is there, shown in reports.",
    "from": "The file that the data are read from.",
    "in": "A range, the data of `forall p in d`, or the norm of a radius.",
    "real": "A real number in a closed range.",
    "int": "A whole number in a closed range.",
    "bool": "True or false.",
    "enum": "One of the named cases.",
    "and": "Both sides hold.",
    "or": "At least one side holds.",
    "not": "It does not hold; of `not near`: the record lies around no row of the data.",
    "implies": "Where the left side holds, so does the right.",
    "if": "A choice, in parentheses: `(if c then x else y)`.",
    "then": "The value where the condition holds.",
    "else": "The value where the condition fails.",
    "with": "The same record but for the features given: `s with {speed = 0 [m/s]}`.",
    "always": "It holds of every record of the trace.",
    "eventually": "It holds of at least one record of the trace, which must have an exact length.",
    "discount": "Weighs each further step of a sum by one more power of the factor.",
    "true": "Holds everywhere.",
    "false": "Holds nowhere.",
}

UNITS: tuple[str, ...] = (
    "m", "cm", "mm", "km", "m^2", "m/s", "km/h", "m/s^2", "m/s^3", "s", "ms", "min", "hour", "Hz", "kg", "g", "N",
    "N*m", "J", "kWh", "W", "kW", "Pa", "bar", "K", "degC", "A", "V", "rad", "deg", "rad/s", "deg/s", "%", "1/s",
)  # fmt: skip
"""In the order in which they are proposed; those that a file uses already come before them."""
