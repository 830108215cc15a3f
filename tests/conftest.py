"""How every test runs: one machine's luck is no other's verdict."""

from __future__ import annotations

import os

from hypothesis import settings

# A test either passes for everyone or fails for everyone. New cases are looked for where somebody looks at them:
# `make test-slow` sets REWARDEN_NEW_CASES, under which hypothesis draws afresh.
settings.register_profile("the same cases", derandomize=True, database=None, deadline=None)
if not os.environ.get("REWARDEN_NEW_CASES"):
    settings.load_profile("the same cases")
