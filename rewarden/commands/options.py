"""The options that several commands share, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _a_file(path: Path | None) -> Path | None:
    """Refuses `-`, which would make a file of that name."""
    if path is not None and str(path) == "-":
        raise typer.BadParameter("standard output has the result in words: name a file, as in --json result.json")
    return path


SpecFile = Annotated[
    Path | None, typer.Argument(metavar="SPEC", help="The spec (.rwd); by default that of rewarden.toml.")
]
Rewards = Annotated[
    list[str] | None,
    typer.Option(
        "--reward",
        "-r",
        metavar="[NAME=]ARTIFACT",
        help="An artifact for a reward of the spec; without NAME, for its first reward that has none yet. A folder that"
        " holds artifacts by the rewards' names serves all of them that have none yet.",
    ),
]
Rules = Annotated[list[str] | None, typer.Option("--rule", metavar="NAME", help="Only this rule; repeatable.")]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="A param's value, such as eps=0.02 or 'v_safe=2 \\[m/s]'."),
]
Allow = Annotated[
    list[Path] | None,
    typer.Option("--allow-path", metavar="DIR", help="A folder outside the spec's own that it may use files from."),
]
Engine = Annotated[
    str | None,
    typer.Option(help="auto, falsify, bounds, differences, cells, neurons, lp or z3.", show_default="auto"),
]
Semantics = Annotated[str | None, typer.Option(help="real or float32.", show_default="real")]
Budget = Annotated[int | None, typer.Option(help="Boxes that may be examined per rule.")]
Timeout = Annotated[float | None, typer.Option(help="Stop after so many seconds; what is left is unknown.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, and only what needs attention.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", callback=_a_file, help="Write the result as JSON.")
]
SarifFile = Annotated[
    Path | None, typer.Option("--sarif", metavar="FILE", callback=_a_file, help="Write the result as SARIF 2.1.0.")
]
JunitFile = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", callback=_a_file, help="Write the result as JUnit XML.")
]
Github = Annotated[
    bool | None,
    typer.Option("--github/--no-github", help="Annotations and a job summary.", show_default="in GitHub Actions"),
]
JsonOrStdout = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the result as JSON; - for standard output, and no text there."),
]
OutFolder = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A folder to make.")]
Encoder = Annotated[
    Path | None,
    typer.Option("--encoder", metavar="DIR", help="Change the texts of the data a little, encode them and try them."),
]
Paraphrases = Annotated[
    Path | None,
    typer.Option("--paraphrases", metavar="FILE", help="Further texts to try: JSON lines of text and paraphrases."),
]
TextRows = Annotated[
    int | None,
    typer.Option("--texts", metavar="N", min=1, help="Rows of each data whose texts are changed.", show_default="200"),
]
