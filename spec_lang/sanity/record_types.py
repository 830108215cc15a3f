"""A record type as an obligation: `forall s: T expect true`, to ask whether any record of it can exist."""

from __future__ import annotations

from rewarden.spec_lang import syntax
from rewarden.spec_lang.features import RecordType
from rewarden.spec_lang.forms import ONE, combine, variable
from rewarden.spec_lang.formulas import atom, conjunction
from rewarden.spec_lang.obligation import TRUE, Formula, Obligation, RecordView, RuleInfo, Variable


def any_record(record: RecordType, assume: Formula, written: syntax.FeaturesDecl) -> Obligation:
    """`assume` is over the encoded columns as variables 0, 1, …"""
    columns = record.columns()
    variables = tuple(Variable("row", c.name, c.discrete, c.lo, c.hi, c.unit) for c in columns)
    structure = []
    start = 0
    for feature in record.features:
        if feature.kind == "enum":
            cases = range(start, start + feature.width)
            total = combine((variable(i), ONE) for i in cases).shifted(-ONE)
            structure += [atom(total, False, None), atom(-total, False, None)]
        start += feature.width
    return Obligation(
        rule=RuleInfo(record.name, "must", "", written.name_span),
        variables=variables,
        records=(RecordView("row", record.name, tuple(range(len(columns)))),),
        structure=conjunction(structure),
        assume=assume,
        premise=TRUE,
        conclusion=TRUE,
    )
