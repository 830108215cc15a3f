"""Every code that a spec's diagnostics carry, each with one paragraph for the person who meets it.

P: the text; N: names; T: types; U: units; L: what a rule means. Codes are stable: a code is never reused.
"""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "P01": "The text does not follow the grammar at the underlined place. The message says what could stand there; "
    "after one such error the rest of the file is still read, item by item, so that all of them are reported.",
    "P02": "A character that has no place in a spec outside a string or a comment.",
    "P03": "The language's keywords are reserved: they cannot name a feature, a record, a rule or anything else.",
    "P04": "The first line of a spec is `spec NAME v1`. This version of Rewarden reads language version v1 only.",
    "P05": "A spec is refused above a fixed size, so that hostile input cannot exhaust the machine that reads it.",
    "P06": "Expressions may be nested to a fixed depth only. Name the inner parts with `let` or `region`.",
    "P07": "Numbers are exact, so their length and exponent are limited.",
    "P08": "A spec is UTF-8 text. The file holds bytes that are not.",
    "P09": "The size of a vector is a whole number from 2 up to a limit.",
    "P10": "An index is a whole number, counted from 0.",
    "N01": "A name that is not declared, or not in scope here.",
    "N02": "The record's type has no feature of that name.",
    "N03": "No `features` declaration has that name.",
    "N04": "Two things have the same name. Records, rewards, data, parameters and definitions share one set of names; "
    "rules have another.",
    "N05": "The enum has no case of that name.",
    "N06": "No `data` declaration has that name.",
    "N07": "No reward, definition or built-in function has that name.",
    "N08": "A definition or a parameter refers to itself, directly or by way of others. Specs have no recursion.",
    "N09": "A parameter was set from outside that the spec does not declare.",
    "N10": "A record of a rule or a definition has the name of a declaration, which would hide it.",
    "T01": "An expression has one type and its place needs another.",
    "T02": "A number needs a closed, finite range: proofs are about all values in it.",
    "T03": "A range whose lower end is above its upper end, or a range where none belongs.",
    "T04": "A function or reward takes a fixed number of arguments.",
    "T05": "A reward or definition was applied to a record of another type.",
    "T06": "Cases of an enum are only compared, by == and !=, with a case or a feature of the same enum.",
    "T07": "The value must be a constant: numbers and parameters only.",
    "T08": "The constant is out of the range that makes sense here.",
    "T09": "Assumptions say which records can occur. They speak of features, never of rewards.",
    "T10": "The radius of a `near` rule: one number where all real features share a unit, a percentage of each range, "
    "or one radius per feature.",
    "T11": "An index beyond the vector's last element.",
    "T12": "A declaration that is empty or repeats a name.",
    "T13": "An `int` feature was given a value that need not be a whole number.",
    "T14": "The quantifier does not fit: `varying` takes two records of one type, `near` one record of "
    "the data's type.",
    "U01": "A unit that Rewarden does not know.",
    "U02": "Two quantities of different kinds were compared, added or assigned.",
    "U03": "There is no exact rational factor between two units, as between degrees and radians. Rewarden never rounds "
    "silently: write the number in the other unit yourself.",
    "U04": "A unit with an offset (°C, °F) can only be compared: sums and products of such readings mean nothing.",
    "U05": "Logarithmic units (dB and the like) are refused: write the linear quantity.",
    "U06": "A unit expression that cannot be read. Write products, quotients and whole powers: kg*m/s^2.",
    "L01": "The value given in `with` is not provably inside the feature's range wherever the premise holds. Add the "
    "missing condition to `given`.",
    "L02": "A divisor whose value could be 0 somewhere in the declared ranges.",
    "L03": "`beyond` needs a region made of linear comparisons and discrete conditions.",
    "L04": "Part of the language that this version reads but cannot check yet.",
    "L05": "The rule becomes too large when its definitions are written out.",
    "L06": "The data that a rule ranges over does not fit its declaration, or lies outside the spec's folder.",
}
