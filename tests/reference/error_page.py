"""`docs/errors.md`: every error code with its explanation. `python -m tests.reference.error_page` writes it anew."""

from __future__ import annotations

from pathlib import Path

from rewarden.codes import explanations

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
FAMILIES = {
    "P": "The text of a spec",
    "N": "Names",
    "T": "Types and forms",
    "U": "Units",
    "L": "What a rule means",
    "S": "Findings about a spec itself",
    "D": "Data",
    "A": "Reward artifacts",
    "B": "Binding rewards to a spec",
    "X": "No engine, or no form",
    "E": "Edits",
    "C": "Certificates",
    "G": "Commands and configuration",
}
HEAD = """# Error codes

Every error, warning and refusal of Rewarden has a stable code. `rewarden explain CODE` says what this page says.
"""


def render() -> str:
    parts = [HEAD]
    known = explanations()
    for letter, title in FAMILIES.items():
        rows = [f"| `{code}` | {' '.join(known[code].split())} |" for code in sorted(known) if code[0] == letter]
        parts.append("\n".join([f"## {title}", "", "| code | meaning |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
