"""Every code that this room's errors carry, each with one paragraph for the person who meets it.

A spec's diagnostics: P the text, N names, T types, U units, L what a rule means, S the spec as a whole. D data; B what
a reward is bound to; X what has no exact form; C a certificate; G how something was called. A code means one thing, in
whatever room it is raised; the table of the leftmost of them explains it (`reward`, `verifier`, `editor` and the
application have tables of their own). Codes are stable: a code is never used again for something else.
"""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "P01": "The text does not follow the grammar at the underlined place. The message says what could stand there; "
    "after one such error the rest of the file is still read, item by item, so that all of them are reported.",
    "P02": "A character that has no place in a spec outside a string or a comment. Operators are "
    "< <= > >= == != + - * /, connectives the words and, or, not, implies; texts stand in double quotes. "
    "Controls, and marks that end a line or turn the direction of writing unseen, have no place in comments either.",
    "P03": "The language's keywords are reserved: they cannot name a feature, a record, a rule or anything else.",
    "P04": "The first line of a spec is `spec NAME v1`. This version of Rewarden reads language version v1 only.",
    "P05": "A spec is refused above a fixed size, so that hostile input cannot exhaust the machine that reads it.",
    "P06": "Expressions may be nested to a fixed depth only. Name the inner parts with `let` or `region`.",
    "P07": "Numbers are exact, so their length and exponent are limited.",
    "P08": "A spec is UTF-8 text. The file holds bytes that are not.",
    "P09": "The size of a vector is a whole number from 2 up to a limit, and so is the number of columns of a record.",
    "P10": "An index is a whole number, counted from 0.",
    "N01": "A name that is not declared, or not in scope here: a rule knows the records of its quantifier and what the "
    "file declares or uses. Features are named by their record, as in s.speed.",
    "N02": "The record's type has no feature of that name. Features are those of its `features` declaration.",
    "N03": "No `features` declaration has that name.",
    "N04": "Two things have the same name. Records, rewards, data, parameters and definitions share one set of names; "
    "rules have another.",
    "N05": "The enum has no case of that name.",
    "N06": "No `data` declaration has that name.",
    "N07": "No reward, definition or built-in function has that name.",
    "N08": "A definition or a parameter refers to itself, directly or by way of others. Specs have no recursion.",
    "N09": "A parameter was set from outside that the spec does not declare.",
    "N10": "A record of a rule or a definition has the name of a declaration, which would hide it; or a param has the "
    "name of one of its own cases.",
    "N11": "An example is of a rule that the spec does not have.",
    "T01": "An expression has one type and its place needs another.",
    "T02": "A number needs a closed, finite range: proofs are about all values in it.",
    "T03": "A range whose lower end is above its upper end, or a range where none belongs.",
    "T04": "A function or reward takes a fixed number of arguments.",
    "T05": "A reward or definition was applied to a record of another type.",
    "T06": "Cases of an enum are only compared, by == and !=, with a case, a feature or a param of the same enum: "
    "one with the same cases in the same order. So are the values given to them.",
    "T07": "The value must be a constant: numbers, cases and parameters only.",
    "T08": "The constant is out of the range that makes sense here.",
    "T09": "Assumptions say which records can occur. They speak of features, never of rewards.",
    "T10": "The radius of a `near` rule: one number where all real features share a unit, a percentage of each range, "
    "or one radius per feature.",
    "T11": "An index beyond the vector's last element.",
    "T12": "A declaration that is empty or repeats a name.",
    "T13": "An `int` feature was given a value that need not be a whole number.",
    "T14": "The quantifier does not fit: `varying` takes two records of one type, `near` one record of "
    "the data's type, and `not near` no norm.",
    "T15": "The variable of a trace or cycle stands for a whole sequence of records. first(t) and last(t) are records; "
    "inside sum, always and eventually the variable stands for each record, or move, in turn.",
    "T16": "A sum runs over the records of a trace, or over the moves from one record to the next where it speaks of a "
    "function of two records; not over both at once, since there is one move less than there are records.",
    "T17": "The words sum, first, last, always, eventually and discount speak of a trace or cycle; eventually needs a "
    "trace of exactly n steps, since a shorter one might not get there.",
    "T18": "A rule about a cycle speaks of loops of every length, so it has one form: a premise that holds for all "
    "records (always), and one sum over the loop compared with 0.",
    "T19": "A share is a statement about all rows together: it is the whole conclusion of a rule over data, compared "
    "with a constant.",
    "T20": "A confidence is that of a share over data.",
    "T21": "An example gives constants for features of the records that its rule quantifies over.",
    "T22": "A param is a single number, truth or case. The language has no way to write a vector, so a vector could "
    "not be given a value: declare one param per element.",
    "U01": "A unit that Rewarden does not know. Units are those of pint: the International System with its prefixes, "
    "and common others. What has no physical unit, such as money or a score, is written without one.",
    "U02": "Two quantities of different kinds were compared, added or assigned, as a speed with a length. Each side is "
    "shown with what it is. Units of one kind convert by themselves (0.5 [m/s] fits 1.8 [km/h]), and a reward is a "
    "plain number; a literal takes its unit in brackets, and a quantity loses it when divided by one: s.dist / 1 [m].",
    "U03": "There is no exact rational factor between two units, as between degrees and radians. Rewarden never rounds "
    "silently: write the number in the other unit yourself.",
    "U04": "A unit with an offset (°C, °F) can only be compared: sums and products of such readings mean nothing.",
    "U05": "Logarithmic units (dB and the like) are refused: write the linear quantity.",
    "U06": "A unit expression that cannot be read. Write products, quotients and whole powers: kg*m/s^2.",
    "L01": "The value given in `with` is not provably inside the feature's range wherever the premise holds. Add the "
    "missing condition to `given`.",
    "L02": "A divisor whose value could be 0 somewhere in the declared ranges. The ranges alone decide, not the "
    "premise: narrow them, divide by max(…, a positive number), or multiply instead.",
    "L03": "`beyond` needs a region made of linear comparisons and discrete conditions.",
    "L05": "The rule becomes too large when its definitions are written out.",
    "L06": "The data that a rule ranges over does not fit its declaration, or lies outside the spec's folder.",
    "L07": "A file named by `use` that cannot be read, or has errors of its own.",
    "L08": "Spec files that use each other in a circle have no order in which to read them.",
    "L09": "A spec uses files in its own folder and below it. Others are refused unless their folder is allowed, so "
    "that a spec from elsewhere cannot read what it likes.",
    "L10": "A spec uses at most a fixed number of files, directly or by way of others.",
    "S01": "No record satisfies the premise of a rule, whatever the reward: it is proved that its clauses, with the "
    "ranges and assumptions of its records, exclude each other. Such a rule is true of every reward.",
    "S02": "Whether any record satisfies the premise could not be decided within the budget, as with products of many "
    "features. Nothing is wrong as far as is known.",
    "S03": "It is proved that no reward satisfies these must rules together. They are as few as possible, and the "
    "situation in which they collide is told: the records, and what each rule asks there.",
    "S04": "It is proved that no reward satisfies this must rule: at the records told, it contradicts itself; or it "
    "asks for more rows than there are.",
    "S05": "The rule follows from the others named: wherever it applies, they forbid what it forbids. A must rule is "
    "only said to follow from must rules. All rules reported so can be left out together.",
    "S06": "Features that no rule and no assumption of the spec reads, in a record type of which others are read. "
    "Rules hold for all their values, which may be what was meant.",
    "S07": "A declaration that nothing in the file uses: a leftover, or a rule that is still to be written.",
    "S08": "The assumptions and ranges of a record type exclude each other, so that no record of it can exist.",
    "S09": "An example of a rule fails. `covers` says that the premise holds, and `ignores` that it fails, for every "
    "completion of the record given; the message shows a completion that is otherwise.",
    "S10": "No record is like this example: what it gives contradicts the assumptions. So it tests nothing.",
    "S11": "Whether an example holds could not be decided within the budget.",
    "S12": "The rule compares a reward with a fixed number. Where the reward is only known up to an added constant, as "
    "one learned from preferences is, such a constant could change whether the rule holds.",
    "S13": "The rule compares rewards with a fixed tolerance. Where the reward is only known up to a positive factor, "
    "such a factor could change whether the rule holds.",
    "S14": "The search for must rules that contradict each other used up its budget without finding any, and no simple "
    "reward was found that satisfies all of them. Either may still be there.",
    "S15": "Every reward satisfies the rule. Its conclusion is true of all records for which its premise holds.",
    "S16": "Whether the rule follows from others could not be decided within the budget. Nothing is wrong as far as is "
    "known; a rule that is kept though it follows costs nothing but a reader's time.",
    "S20": "Comparing specs: NEW accepts rewards that OLD's rule refuses, or it is not excluded that it does. The "
    "situation shows one of them.",
    "S21": "Comparing specs: a rule of OLD has no counterpart in NEW, by name, text, id, title or meaning.",
    "S22": "Comparing specs: the two rules accept different rewards, and neither accepts all that the other does.",
    "S23": "Comparing specs: how two rules, or two record types, relate could not be decided, for the reason told.",
    "S24": "Comparing specs: a must rule of OLD is a should rule of NEW, so that it only warns.",
    "S25": "Comparing specs: NEW's ranges, cases or assumptions admit records that OLD's exclude, so that its rules "
    "speak of more.",
    "S26": "Comparing specs: NEW's ranges, cases or assumptions exclude records that OLD's admit, so that its rules "
    "speak of less.",
    "S27": "Comparing specs: a data set holds other rows, is gone, or could not be read for comparison.",
    "S28": "Comparing specs: a parameter has another value, by its declaration or from outside.",
    "S29": "Comparing specs: an example of OLD, which tested it, is not in NEW.",
    "D01": "There is no data file of that name at the place that the message names.",
    "D02": "A data file that cannot be read as what its suffix says: Parquet, CSV, NPZ or JSON lines.",
    "D03": "The columns of a table are not those of the record type: one is missing, or it is unclear which is which.",
    "D04": "A value of another type than its feature is declared with. Nothing is converted silently: true is not 1, "
    "and a text is not a number.",
    "D05": "A value that is missing, infinite or not a number. Fill it in or drop the row.",
    "D06": "A value outside the range that its feature is declared with. Proofs are about the range, so such a row is "
    "evidence that the range, or the row, is wrong.",
    "D07": "A text that is not one of the cases of its enum.",
    "D08": "A table without rows, where a rule, a constant or a range is taken from its rows.",
    "D09": "A vector, or a whole column, of another shape than declared.",
    "D10": "The file holds pickled Python objects. Loading them would run whatever code they hold, so they never are.",
    "D11": "The data file is larger than is accepted.",
    "D12": "Two columns of the file have the same name.",
    "D13": "The columns, or the fields of the lines, of a table differ in number.",
    "D14": "Rows that break an assumption of the spec about their record type: one of the two is wrong.",
    "D15": "No record within the radius of this row lies in the declared ranges.",
    "D16": "A declared range that holds no value, such as an int between two neighbouring whole numbers.",
    "B20": "A claim names its rewards and data by digest, and one that this rule needs was not given.",
    "B21": "A constant taken from data, such as a percentile of a reward, has no value before its reward is bound.",
    "B22": "The penalty needs a function for each reward that the rule speaks of.",
    "B23": "The function given for a reward returned another shape than one finite number per record.",
    "B24": "A penalty of a reward that the spec does not declare, or where no rule is about the rewards given.",
    "B25": "Points or rows given to a penalty that are not those of the rule: other columns, names or units, a number "
    "that is not finite, or points of a rule about a share of rows, which has none of its own.",
    "X01": "The product of two quantities that both vary: proofs are about pieces that are affine.",
    "X02": "A square root has no exact affine form. linf and l1 norms have one.",
    "X03": "The rule's alternatives, multiplied out, are too many. Split it.",
    "X04": "A reward applied to a value that is not affine in the features.",
    "X05": "A quotient whose divisor varies. Multiply both sides by it.",
    "X06": "An expression that speaks of a reward was evaluated where only features have values.",
    "X07": "An exact value was asked of an irrational number, or of one that cannot be told from it.",
    "X08": "A rule about traces of several lengths, or about cycles, is not one question but one for every length.",
    "X09": "The rule cannot be written as an SMT-LIB script: it is about a share of rows, or a reward is too large.",
    "X40": "A rule about the rows of a data set is decided by judging every row exactly: it has no form as a claim "
    "about boxes. A certificate has another for it, a count over the bundled rows; none for a share with a confidence.",
    "C20": "The certificate's claims are not of the documented form.",
    "G20": "The spec file cannot be read.",
    "G21": "The spec has no rule of that name.",
    "G22": "The spec has no data set of that name, or its rows no such member.",
    "G23": "Data are looked for in the spec's own folder and below it, and nowhere else.",
}
