"""A query file, of either version: what it declares, then what it asserts.

Version 1.0 declares reals `X_0 … X_n` (the input, row-major) and `Y_0 … Y_m` (the output). Version 2 begins with
`(vnnlib-version <2.0>)` and declares networks with tensors of a type. Its `real` asks about exact real arithmetic,
which is what is answered here; the standard wants a solver to refuse types (float32 …) that it is not sound for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

from rewarden.spec_lang.errors import Unsupported, UsageError
from rewarden.verifier.vnnlib.query import AllOf, Formula, Network, Query, Tensor
from rewarden.verifier.vnnlib.reader import Group, Node, QuerySource, Word, decoded, forms, shown
from rewarden.verifier.vnnlib.terms import Terms, Unknown

MAX_UNKNOWNS = 65_536
MAX_NETWORKS = 64
MAX_TENSORS = 256
MAX_RANK = 16
IGNORED = ("set-logic", "set-info", "set-option", "check-sat", "get-model", "exit")  # of SMT-LIB
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,200}")
FLAT = re.compile(r"([XY])_(0|[1-9][0-9]{0,6})")
INDEX = re.compile(r"[0-9]{1,7}")


def parse_query(raw: bytes, name: str) -> Query:
    """The query in a file's bytes; `name` is what messages call it.

    Raises UsageError (G80 for what is no query, with line and column; G83 for an element type that is not real) and
    Unsupported (X34 for what is one and cannot be answered).
    """
    source = decoded(raw, name)
    items = list(forms(source))
    if not items:
        raise UsageError("G80", f"{name} is empty: it asserts nothing", help="name a .vnnlib file")
    if _head(source, items[0]) == "vnnlib-version":
        return _second(source, items)
    return _first(source, items)


def _head(source: QuerySource, form: Group) -> str:
    if form.kind != "(" or not form.items or not isinstance(form.items[0], Word):
        raise source.error("expected ( and a keyword", form.at)
    return form.items[0].text


def _asserted(source: QuerySource, form: Group) -> Node:
    if len(form.items) != 2:
        raise source.error("assert takes one formula", form.at)
    return form.items[1]


# ── version 1.0 ────────────────────────────────────────────────────────────────────────────────
def _first(source: QuerySource, items: Sequence[Group]) -> Query:
    declared: dict[str, Unknown] = {}
    asserted: list[Node] = []
    for form in items:
        head = _head(source, form)
        if head in ("declare-const", "declare-fun"):
            word = _declared_real(source, form, head)
            if word.text in declared:
                raise source.error(f"{word.text} is declared twice", word.at)
            declared[word.text] = _flat(source, word)
        elif head == "assert":
            asserted.append(_asserted(source, form))
        elif head not in IGNORED:
            raise source.error(f"unknown form {shown(head)}", form.at, help="known: declare-const, assert")
    sizes = [_contiguous(source, declared, is_output) for is_output in (False, True)]

    def lookup(word: Word, indices: Group | None) -> Unknown:
        if word.text not in declared or indices is not None:
            raise source.error(f"{shown(word.text)} is not declared", word.at, help="inputs are X_i, outputs Y_j")
        return declared[word.text]

    network = Network("", (Tensor("X", (sizes[0],), 0),), (Tensor("Y", (sizes[1],), 0),))
    return Query("1.0", (network,), _conjunction(Terms(source, lookup), asserted))


def _declared_real(source: QuerySource, form: Group, head: str) -> Word:
    match form.items[1:]:
        case (Word() as name, Word("Real")) if head == "declare-const":
            return name
        case (Word() as name, Group("(", ()), Word("Real")) if head == "declare-fun":
            return name
        case _:
            raise source.error("expected (declare-const NAME Real)", form.at, help="unknowns are real numbers")


def _flat(source: QuerySource, word: Word) -> Unknown:
    found = FLAT.fullmatch(word.text)
    if found is None or int(found[2]) >= MAX_UNKNOWNS:
        help = f"inputs are X_0, X_1, …, outputs Y_0, Y_1, …, at most {MAX_UNKNOWNS} of each"
        raise source.error(f"{shown(word.text)} is neither an input nor an output", word.at, help=help)
    return found[1] == "Y", int(found[2])


def _contiguous(source: QuerySource, declared: dict[str, Unknown], is_output: bool) -> int:
    letter = "Y" if is_output else "X"
    numbers = {number for output, number in declared.values() if output == is_output}
    if not numbers:
        raise UsageError("G80", f"{source.name} declares no {letter}_0", help="declare every input and output")
    for number in range(len(numbers)):
        if number not in numbers:
            raise UsageError("G80", f"{source.name} declares no {letter}_{number}, but a later one")
    return len(numbers)


# ── version 2 ──────────────────────────────────────────────────────────────────────────────────
def _second(source: QuerySource, items: Sequence[Group]) -> Query:
    match items[0].items[1:]:
        case (Word(version),) if re.fullmatch(r"<2\.[0-9]{1,3}>", version):
            pass
        case _:
            raise source.error("this version of VNN-LIB is not known", items[0].at, help="write (vnnlib-version <2.0>)")
    networks: list[Network] = []
    tensors: dict[str, tuple[bool, Tensor]] = {}
    asserted: list[Node] = []
    for form in items[1:]:
        head = _head(source, form)
        if head == "declare-network" and not asserted:
            if len(networks) == MAX_NETWORKS:
                raise source.error(f"more than {MAX_NETWORKS} networks", form.at)
            networks.append(_network(source, form, networks, tensors))
        elif head == "assert":
            asserted.append(_asserted(source, form))
        else:
            raise source.error(f"unexpected form {shown(head)}", form.at, help="first all networks, then assertions")
    if not networks:
        raise source.error("no network is declared", items[0].at)

    def lookup(word: Word, indices: Group | None) -> Unknown:
        if word.text not in tensors:
            raise source.error(f"{shown(word.text)} is not declared", word.at)
        is_output, tensor = tensors[word.text]
        return is_output, _element(source, word, tensor, indices)

    return Query("2.0", tuple(networks), _conjunction(Terms(source, lookup), asserted))


def _network(
    source: QuerySource, form: Group, earlier: Sequence[Network], tensors: dict[str, tuple[bool, Tensor]]
) -> Network:
    name = _name(source, form.items[1] if len(form.items) > 1 else form, {n.name for n in earlier} | tensors.keys())
    same_as: str | None = None
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for item in form.items[2:]:
        if not isinstance(item, Group):
            raise source.error(f"unexpected {shown(item.text)}", item.at)
        match _head(source, item):
            case "declare-input" | "declare-output" as head:
                is_output = head == "declare-output"
                taken = {n.name for n in earlier} | tensors.keys() | {name}
                start = sum(t.size for output, t in tensors.values() if output == is_output)
                tensor = _tensor(source, item, start, taken)
                tensors[tensor.name] = (is_output, tensor)
                found[is_output].append(tensor)
            case "equal-to" if same_as is None:
                same_as = _earlier(source, item, earlier)
            case "isomorphic-to":
                _earlier(source, item, earlier)  # says nothing about values
            case "declare-hidden":
                raise _unsupported(source, "values inside a network cannot be asked about", item.at)
            case other:
                raise source.error(f"unexpected form {shown(other)} in a network", item.at)
    if not found[0] or not found[1]:
        raise source.error(f"network {name} declares no input, or no output", form.at)
    network = Network(name, tuple(found[0]), tuple(found[1]), same_as)
    _same_shapes(source, network, earlier, form.at)
    return network


def _tensor(source: QuerySource, form: Group, start: int, taken: set[str]) -> Tensor:
    match form.items[1:]:
        case (Word(), Word() as kind, Group("[", sizes), *rest):
            pass
        case _:
            raise source.error("expected a name, a type and a shape, as in (declare-input X real [1,5])", form.at)
    if any(isinstance(item, Word) and item.text.startswith('"') for item in rest):
        raise source.error(
            "a tensor has no name of the ONNX file here", form.at, help="leave it out, and declare them in its order"
        )
    if rest:
        raise _unsupported(source, "inputs that may keep a default are not known", form.at)
    name = _name(source, form.items[1], taken)
    if kind.text.lower() != "real":
        place = source.error("", kind.at).message.rstrip(": ")
        raise UsageError(
            "G83",
            f"{place}: the query is about {shown(kind.text)} arithmetic, and exact real arithmetic is decided here",
            help="declare the tensors `real` to ask that instead",
        )
    if len(sizes) > MAX_RANK or len(taken) > MAX_TENSORS:
        raise source.error(f"more than {MAX_RANK} axes, or {MAX_TENSORS} names", form.at)
    shape = tuple(_natural(source, size) for size in sizes)
    if prod(shape) < 1 or start + prod(shape) > MAX_UNKNOWNS:
        raise source.error(f"between 1 and {MAX_UNKNOWNS} unknowns can be declared", form.at)
    return Tensor(name, shape, start)


def _earlier(source: QuerySource, form: Group, earlier: Sequence[Network]) -> str:
    match form.items[1:]:
        case (Word(name),) if any(network.name == name and network.same_as is None for network in earlier):
            return name
        case _:
            raise source.error("expected the name of an earlier network that is itself equal to none", form.at)


def _same_shapes(source: QuerySource, network: Network, earlier: Sequence[Network], at: int) -> None:
    for other in earlier:
        if other.name == network.same_as:
            theirs, ours = ([[t.shape for t in n.inputs], [t.shape for t in n.outputs]] for n in (other, network))
            if theirs != ours:
                raise source.error(f"{network.name} has other shapes than {other.name}, which it is equal to", at)


def _name(source: QuerySource, node: Node, taken: set[str]) -> str:
    if not isinstance(node, Word) or not NAME.fullmatch(node.text):
        raise source.error("expected a name: a letter, then letters, digits and _", node.at)
    if node.text in taken:
        raise source.error(f"the name {node.text} is taken", node.at)
    return node.text


def _element(source: QuerySource, word: Word, tensor: Tensor, indices: Group | None) -> int:
    found = () if indices is None else tuple(_natural(source, item) for item in indices.items)
    if len(found) != len(tensor.shape) or any(i >= size for i, size in zip(found, tensor.shape, strict=True)):
        raise source.error(f"{word.text} has the shape {list(tensor.shape)}; this is no element of it", word.at)
    flat = 0
    for i, size in zip(found, tensor.shape, strict=True):
        flat = flat * size + i
    return tensor.start + flat


def _natural(source: QuerySource, node: Node) -> int:
    if not isinstance(node, Word) or not INDEX.fullmatch(node.text):
        raise source.error("expected a whole number", node.at)
    return int(node.text)


def _conjunction(terms: Terms, asserted: Sequence[Node]) -> Formula:
    return AllOf(tuple(terms.formula(node) for node in asserted))


def _unsupported(source: QuerySource, message: str, at: int) -> Unsupported:
    return Unsupported("X34", source.error(message, at).message, help="ask about inputs and outputs")
