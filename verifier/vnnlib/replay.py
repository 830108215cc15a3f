"""What another verifier says violates a rule, judged exactly.

An exported query admits a little more than the rule: points at equality, and by the rounding of its numbers. And
another verifier's solution is a list of decimals that it found in floating point. So its inputs become the claim's
variables, exact points near them are tried, and only an exact replay says that the rule is violated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.errors import UsageError
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.linear import program_of
from rewarden.verifier.snap import candidates
from rewarden.verifier.vnnlib.query import Query, Tensor
from rewarden.verifier.vnnlib.reader import Group, QuerySource, Word, decoded, forms, words
from rewarden.verifier.vnnlib.terms import NUMBER, number
from rewarden.verifier.vnnlib.wiring import plain_columns
from rewarden.verifier.vnnlib.writing import JOINT
from rewarden.verifier.witness import Witness, replay

SAID = ("sat", "violated")  # the first word of a file that holds a solution, and of some that were kept by hand


def replayed(
    claim: Claim, artifacts: Mapping[str, Artifact], instance: int, guess: Mapping[int, Fraction]
) -> Witness | None:
    """A witness that the claim is false at or very near `guess` (variable → value), in box number `instance`."""
    box = claim.boxes[instance]
    exact = ExactProgram(program_of(claim, artifacts))
    point = tuple(min(max(guess.get(i, lo), lo), hi) for i, (lo, hi) in enumerate(box))
    for candidate in (point, *candidates(claim, box, [float(x) for x in point])):
        witness = replay(claim, exact, artifacts, candidate)
        if witness is not None:
            return witness
    return None


def variables_of(claim: Claim, query: Query, inputs: Sequence[Fraction]) -> dict[int, Fraction]:
    """The claim's variables, of the inputs of a query that was exported for it. UsageError G84 for another's."""
    starts = [network.inputs[0].start for network in query.networks]
    if query.version == "1.0" or query.networks[0].name == JOINT:
        places = {i: i for i in range(len(claim.variables))}
    else:
        columns = plain_columns(claim).items()
        places = {i: starts[call] + column for i, (call, column) in columns if call < len(starts)}
    if any(place >= len(inputs) for place in places.values()):
        raise UsageError("G84", f"the query is not one of rule {claim.rule}", help="name the query that was answered")
    return {i: inputs[place] for i, place in places.items()}


# ── a solution as text ─────────────────────────────────────────────────────────────────────────
def read_inputs(query: Query, raw: bytes, name: str) -> tuple[Fraction, ...]:
    """The inputs in another verifier's answer: `((X_0 0.5) …)`, or `X real [1,5]` and a value a line; a first line
    `sat` and outputs may stand there too. UsageError G80, or G84 where an input is missing."""
    source = decoded(raw, name)
    first, _, rest = source.text.partition("\n")
    if first.strip() in SAID:
        source = QuerySource(name, " " * len(first) + "\n" + rest)
    known = {tensor.name: tensor for network in query.networks for tensor in network.inputs}
    pairs = _pairs if source.text.lstrip().startswith("(") else _listed
    found: dict[int, Fraction] = {}
    for place, value in pairs(source, known):
        found[place] = value
    missing = [query.input_name(i) for i in range(query.inputs) if i not in found]
    if missing:
        raise UsageError("G84", f"{name} gives no value for {missing[0]}", help="name the answer to this query")
    return tuple(found[i] for i in range(query.inputs))


def _pairs(source: QuerySource, known: Mapping[str, Tensor]) -> Iterator[tuple[int, Fraction]]:
    for form in forms(source):
        for pair in form.items if all(isinstance(item, Group) for item in form.items) else (form,):
            match pair:
                case Group("(", (Word() as name, Word() as value)):
                    stem, _, index = name.text.rpartition("_")
                    if stem in known and index.isdecimal() and len(index) < 8 and int(index) < known[stem].size:
                        yield known[stem].start + int(index), number(source, value)
                case _:
                    raise source.error("expected a name and its value, as in (X_0 0.5)", pair.at)


def _listed(source: QuerySource, known: Mapping[str, Tensor]) -> Iterator[tuple[int, Fraction]]:
    """A tensor begins with a name; what follows its shape are its values."""
    place = end = depth = 0
    for word in words(source):
        if word.text in "[]":
            depth += 1 if word.text == "[" else -1
        elif word.text in known:
            place, end = known[word.text].start, known[word.text].start + known[word.text].size
        elif NUMBER.fullmatch(word.text) and depth == 0 and place < end:
            yield place, number(source, word)
            place += 1
        elif depth == 0 and place == end:
            place = end = 0  # an output, or its type
