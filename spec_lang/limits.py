"""How large a spec may be: bounds that no honest spec meets and no hostile one passes.

Depths are chosen so that recursive passes over a tree stay far below Python's recursion limit.
"""

from __future__ import annotations

TEXT_BYTES = 1 << 18  # a spec file
NESTING = 60  # of brackets, and of the syntax tree
EXPANSION_DEPTH = 120  # of the tree with its definitions written out
EXPANSION_SIZE = 400_000  # terms a single rule may be written out to
SPEC_SIZE = 2_000_000  # and all rules together
NUMBER_TEXT = 400  # characters of a literal
NUMBER_DIGITS = 60  # significant digits of a literal
EXPONENT = 400  # of its last significant digit, absolute
UNIT_LENGTH = 80  # characters between the brackets
VECTOR_SIZE = 16_384
ENUM_CASES = 1_024
RECORD_WIDTH = 65_536  # encoded columns of one record
RULE_WIDTH = 1 << 18  # encoded columns of all records of a rule
SYNTAX_ERRORS = 20  # reported before the parser gives up
FINDINGS = 200  # reported at once
AWAY = 1 << 17  # comparisons of a rule about records not near data: a claim of more names the table
WIDE, AWAY_WIDE = 24, 1 << 12  # of so many columns, of which cases get nowhere, a claim names the table sooner
BOXES = 1 << 20  # variables of all boxes near data: a claim of more names the table
POLYTOPES = 256  # conjunct-polytopes of a region in `beyond`
USED_FILES = 64  # that one spec may use, directly or by way of others
TRACE_STEPS = 256  # records of a trace
