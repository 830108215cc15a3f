"""The kernel's command with accelerators: `python -m rewarden.certificate.tiers CERT --reward … --tier TIER`.

The kernel itself (`check`) knows exact integers alone. What is added here is trusted where it is used, and named in the
answer: numpy in binary64 with rigorous error terms, python-flint in exact integers. What is not installed is not
offered.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from rewarden.certificate.check import TIER, Check, main
from rewarden.certificate.kernel_proof import check_leaves


def tiers() -> dict[str, tuple[str, Check]]:
    """By name: what the tier is called in answers, and how it checks a leaf."""
    found: dict[str, tuple[str, Check]] = {"exact": (TIER, check_leaves)}
    if find_spec("flint") is not None:
        from rewarden.certificate.tier_flint import NAME as FLINT
        from rewarden.certificate.tier_flint import check_leaves_flint

        found["flint"] = FLINT, check_leaves_flint
    if find_spec("numpy") is not None:
        from rewarden.certificate.tier_float64 import NAME as FLOAT64
        from rewarden.certificate.tier_float64 import check_leaves_float64

        found["float64"] = FLOAT64, check_leaves_float64
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], tiers()))
