"""Specs that would take for ever or fill the memory, were they not refused. As a program it loads each under limits.

    python -m tests.reference.worst_texts first second …

Each case has its own limit of CPU time, all share one of memory; a line `name: codes` is printed for each that ends
well.
"""

from __future__ import annotations

import resource
import sys

HEAD = "spec s v1\nfeatures T { x: real in 0.5 .. 1 b: bool v: real ^ 3 in 0 .. 1 }\nreward R(t: T)\n"
RULE = "must a: forall t: T expect "
WIDE = "spec s v1\nfeatures T { u: real ^ 16384 in 0 .. 1 v: real ^ 16384 in 0 .. 1 }\nreward R(t: T)\n"
CPU_SECONDS = 40
MEMORY = 3 << 30


def times(unit: str, size: int = 60_000) -> str:
    return unit * (size // len(unit))


def chain(first: str, each: str, last: str, count: int = 40) -> str:
    """Definitions that each mention the one before, twice or more."""
    lines = [HEAD, first, *(each.replace("THIS", str(i)).replace("LAST", str(i - 1)) for i in range(1, count)), last]
    return "\n".join(lines).replace("END", str(count - 1))


def regions(each: str) -> str:
    return chain("region g0(t: T) = t.b", f"region gTHIS(t: T) = {each}", RULE + "gEND(t)")


CASES: dict[str, str] = {
    # nesting
    "brackets": HEAD + RULE + "(" * 100_000,
    "nots": HEAD + RULE + times("not ") + "t.b",
    "minuses": HEAD + RULE + "0 < " + times("-") + "1",
    "implications": HEAD + RULE + "t.b" + times(" implies t.b"),
    "withs": HEAD + RULE + "R(t" + times(" with {x = 1}") + ") > 0",
    "fields": HEAD + RULE + "t" + times(".x") + " > 0",
    "indices": HEAD + RULE + "t.v" + times("[0]") + " > 0",
    # long chains, which are flat
    "sum": HEAD + RULE + "0 < 1" + times(" + t.x"),
    "product": HEAD + RULE + "0 < 1" + times(" * t.x"),
    "quotient": HEAD + RULE + "0 < 1" + times(" / t.x"),
    "constants": HEAD + RULE + "0 < 1" + times(" * 7"),
    "conjunction": HEAD + RULE + "t.b" + times(" and t.b"),
    "comparison": HEAD + RULE + "0" + times(" < t.x"),
    "equalities": HEAD + RULE + "t.b" + " == t.b" * 40,
    "minimum": HEAD + RULE + "min(0" + times(", t.x") + ") > 0",
    "updates": HEAD + RULE + "R(t with {" + times("x = 1, ") + "}) > 0",
    # numbers and sizes
    "digits": HEAD + RULE + times("9") + " > 0",
    "exponent": HEAD + RULE + "1e999999999 > 0",
    "powers": chain("param p0: real = 1e400", "param pTHIS: real = pLAST * pLAST", ""),
    "vector": "spec s v1 features T { v: real ^ 999999999999 in 0 .. 1 }",
    "vectors": "spec s v1 features T {" + " ".join(f"v{i}: real ^ 16384 in 0 .. 1" for i in range(1000)) + "}",
    "cases": "spec s v1 features T { z: enum {a" + times(", b") + "} }",
    "steps": HEAD + "must a: trace t: T within 1e300 steps expect sum(R(t)) > 0",
    "wide rules": WIDE + "\n".join(f"must a{i}: forall t: T expect linf(t.v) >= {i}" for i in range(200)),
    "wide records": WIDE + f"must a: forall {', '.join(f't{i}: T' for i in range(1000))} expect R(t0) > 0",
    "wide trace": WIDE + "must a: trace t: T within 64 steps expect sum(R(t)) > 0",
    # definitions
    "recursion": HEAD + "\n".join(f"let f{i}(t: T) = f{(i + 1) % 2000}(t)" for i in range(2000)),
    "depth": chain("let f0(t: T) = t.x", "let fTHIS(t: T) = |fLAST(t)| + 1", RULE + "fEND(t) > 0", 2000),
    "products": chain("let f0(t: T) = t.x", "let fTHIS(t: T) = fLAST(t) * fLAST(t)", RULE + "fEND(t) > 0"),
    "maxima": chain("let f0(t: T) = t.x", "let fTHIS(t: T) = max(fLAST(t), t.x * fLAST(t))", RULE + "fEND(t) > 0"),
    "truths": regions("gLAST(t) == gLAST(t with {b = not t.b})"),
    "choices": regions("(if gLAST(t) then not gLAST(t) else gLAST(t))"),
    "updated": regions("gLAST(t with {b = gLAST(t) and t.x > 1 / 2})"),
    "polytopes": HEAD + RULE + "beyond(" + " and ".join(f"(t.x > 0.{i} or t.b)" for i in range(1, 60)) + ", 5 %)",
    "norms": HEAD + RULE + "beyond(" + " + ".join(["linf(t.v) - l1(t.v)"] * 9) + " > 0, 5 %)",
    # names and units
    "unknown names": "spec s v1\n" + "\n".join(f"param {'p' * 12}{i}: real = {'p' * 11}q{i}" for i in range(1500)),
    "unknown features": HEAD + "\n".join(f"must a{i}: forall t: T expect t.speeed{i} > 0" for i in range(1500)),
    "repeated": "spec s v1\n" + times("param p: real = 1\n"),
    "unknown units": HEAD + "\n".join(f"param p{i}: real [zz{i}] = 1" for i in range(1500)),
    "unit powers": HEAD + "param p: real [((((((km^12)^12)^12)^12)^12)^12)^12] = 1",
    "unit brackets": HEAD + f"param p: real [{'(' * 70}m{')' * 70}] = 1",
    "unit product": HEAD + f"param p: real [{'*'.join(['km'] * 25)}] = 1",
    # text
    "broken items": HEAD + times("must a: forall t: T expect t.x >\n"),
    "broken end": HEAD + times("region g(t: T) = t.b\n") + "let f(t: T) = +\n" * 25,
    "broken items at once": "spec s v1\n" + times("must a forall\n"),
    "quotes": "spec s v1 " + times('"'),
    "units without end": "spec s v1 param p: real " + times("["),
    "titles": "spec s v1\n" + times("--- x\n") + times("must a: forall t: T expect true\n", 9000),
    "letters": "spec s v1 " + times("٣é𝟙"),
    "zeros": "spec s v1 " + times("\0"),
    "attributes": HEAD + RULE + "true" + times(" weight 1"),
    "examples": HEAD + RULE + "true\nexample of a:" + times(" covers t = {x = 1}"),
    "too long": "spec s v1\n" + times("# x\n", 300_000),
}  # fmt: skip


def _limit(name: str) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def main(names: list[str]) -> None:
    from tests.reference.random_texts import survives

    survives(HEAD.encode())  # what is read once is read before the limits are set
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name in names:
        _limit(name)
        codes = survives(CASES[name].encode())
        print(f"{name}: {' '.join(sorted(codes))}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
