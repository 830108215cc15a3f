"""How every test runs: one machine's luck is no other's verdict."""

from __future__ import annotations

import os
from importlib.util import find_spec
from itertools import count

import pytest
from hypothesis import settings

# A test either passes for everyone or fails for everyone. New cases are looked for where somebody looks at them:
# `make test-slow` sets REWARDEN_NEW_CASES, under which hypothesis draws afresh.
settings.register_profile("the same cases", derandomize=True, database=None, deadline=None)
if not os.environ.get("REWARDEN_NEW_CASES"):
    settings.load_profile("the same cases")

# imitation needs another Gymnasium: without it its tests are no part of the suite (`make test-imitation` runs them).
collect_ignore = [] if find_spec("imitation") else ["imitation"]

# One thread for each process, those that tests start included: workers share the machine already (`-n 2`), and threads
# that wait for each other's turn in small products cost five times the work. A test about threads asks for its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_NUMBERS = count()


@pytest.fixture(autouse=True)
def _nobodys_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed does not depend on where the tests run."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _verdicts_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is answered by what another one has decided. The folder is made by those that keep something."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "caches" / str(next(_NUMBERS))))
