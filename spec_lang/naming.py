"""The way back: values of an obligation's variables as records of named features, in problem units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.obligation import Obligation, RecordView

FeatureValue = Fraction | int | bool | str | tuple[Fraction | int, ...]
NamedRecords = dict[str, dict[str, FeatureValue]]


def named_records(
    obligation: Obligation, values: Sequence[Fraction], types: Mapping[str, RecordType] | None = None
) -> NamedRecords:
    """Record name → feature name → value: rationals, whole numbers, cases by name, vectors as tuples.

    With the record types a bool reads True or False; without them it is the integer 0 or 1, since the variables alone
    do not tell a bool from an int in 0 .. 1.
    """
    return {record.name: _named(obligation, record, values, types) for record in obligation.records}


def _named(
    obligation: Obligation, record: RecordView, values: Sequence[Fraction], types: Mapping[str, RecordType] | None
) -> dict[str, FeatureValue]:
    if types is not None and record.type_name in types:
        numbers = [values[variable] for variable in record.variables]
        return _decoded(types[record.type_name], numbers)
    named: dict[str, FeatureValue] = {}
    for index in record.variables:
        variable = obligation.variables[index]
        value = _scalar(values[index], variable.discrete)
        feature, equals, case = variable.column.partition("=")
        vector, bracket, _ = variable.column.partition("[")
        if equals:
            if value == 1:
                named[feature] = case
        elif bracket:
            before = named.get(vector, ())
            assert isinstance(before, tuple)
            named[vector] = (*before, value)
        else:
            named[feature] = value
    return named


def _decoded(record_type: RecordType, numbers: Sequence[Fraction]) -> dict[str, FeatureValue]:
    named: dict[str, FeatureValue] = {}
    position = 0
    for feature in record_type.features:
        part = numbers[position : position + feature.width]
        position += feature.width
        named[feature.name] = _feature_value(feature, part)
    return named


def _feature_value(feature: Feature, part: Sequence[Fraction]) -> FeatureValue:
    if feature.kind == "enum":
        return feature.cases[list(part).index(Fraction(1))]
    if feature.is_vector:
        return tuple(_scalar(value, feature.kind != "real") for value in part)
    return bool(part[0]) if feature.kind == "bool" else _scalar(part[0], feature.kind == "int")


def _scalar(value: Fraction, discrete: bool) -> Fraction | int:
    return int(value) if discrete else value
