"""The same seed gives the same digest: twice in a process, in other processes, on any number of threads and
with or without vector units."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import RewardRecord
from rewarden.reward.learners.autoencoders import Autoencoders
from rewarden.reward.learners.energy import Energy
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Run
from rewarden.reward.learners.labels import Labels
from rewarden.reward.learners.options import AutoencoderOptions, EnergyOptions, LabelOptions, PreferenceOptions
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.normaliser import fit_normaliser
from rewarden.reward.training import deterministic, dyadic, quantile, settle, split
from rewarden.spec_lang.features import Feature, RecordType

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(40), "m/s"),
        Feature("count", "int", Fraction(0), Fraction(9)),
        Feature("lead", "bool", Fraction(0), Fraction(1)),
    ),
)
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_determinism import learn_some
print(*learn_some(4))
"""


def learn_some(seed: int) -> tuple[str, ...]:
    record = RewardRecord("s", STEP)
    rows = random_rows([STEP], 600, 0).astype(np.float64)
    segments = rows[:480].reshape(60, 2, 4, STEP.width)
    one = AutoencoderOptions(experts=2, hidden=4, code=2, epochs=3, warm_up=1, batch=64)
    two = PreferenceOptions(hidden=6, epochs=3, batch=16, precision="double")
    three = LabelOptions(kind="ordinal", hidden=6, epochs=3, batch=64, precision="double")
    four = EnergyOptions(hidden=6, epochs=3, batch=64, precision="double")
    grades = np.digitize(rows[:, 0], [10.0, 20.0]).astype(np.float64)
    return (
        Labels().fit(Judgements(record, rows, grades), three, Run(seed)).digest,
        Energy().fit(Demonstrations(record, rows), four, Run(seed)).digest,
        Autoencoders().fit(Demonstrations(record, rows), one, Run(seed)).digest,
        Preferences().fit(Comparisons(record, segments), two, Run(seed)).digest,
    )


def test_same_seed_same_digest_and_another_seed_another():
    torch.manual_seed(1)
    first = learn_some(4)
    torch.manual_seed(2)  # the global generator plays no part
    torch.rand(100)
    assert learn_some(4) == first
    assert not set(learn_some(5)) & set(first)


def test_another_process_with_other_threads_and_vector_units_agrees():
    here = os.path.dirname(__file__)
    settings = {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4", "ATEN_CPU_CAPABILITY": "default"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, here], env=os.environ | settings, capture_output=True, text=True, check=True
    )
    assert tuple(run.stdout.split()) == learn_some(4)


def test_torch_is_left_as_it_was_found():
    threads, enabled = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.get_rng_state()

    def interrupted() -> None:
        with torch.no_grad(), deterministic(1):
            assert torch.get_num_threads() == 1
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.is_grad_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == enabled
    assert torch.equal(torch.get_rng_state(), state)


def test_learning_works_for_a_caller_in_inference_mode():
    with torch.inference_mode():
        assert all(digest.startswith("sha256:") for digest in learn_some(4))


# ── the pieces ─────────────────────────────────────────────────────────────────────────────────
def test_dyadic_numbers_sit_on_a_grid_and_are_close():
    values = np.random.default_rng(0).normal(size=1000)
    rounded = dyadic(values, 14)
    step = 2.0 ** (np.frexp(np.abs(values).max())[1] - 14)
    assert rounded.dtype == np.float32
    assert np.all(rounded / step == np.round(rounded / step))
    assert np.abs(rounded - values).max() <= step / 2
    assert not np.signbit(dyadic(np.array([-1e-9, 1.0]))[0])
    assert not dyadic(np.zeros(3)).any()


def test_settling_erases_noise_in_the_last_digits_and_only_that():
    results = []
    for noise in (0.0, 1e-14):
        values = torch.tensor([0.1, -3.7, 12.3], dtype=torch.float64).requires_grad_()
        optimiser = torch.optim.AdamW([values], lr=0.1)
        (values.square().sum() * (1 + noise)).backward()
        optimiser.step()
        before = values.detach().clone()
        settle(optimiser)
        assert torch.allclose(values, before, rtol=2**-24, atol=0)
        results.append((values.tolist(), optimiser.state[values]["exp_avg"].tolist()))
    assert results[0] == results[1]


def test_quantile_is_the_language_s():
    values = torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0])
    assert [quantile(values, q) for q in (0.0, 0.2, 0.21, 0.5, 1.0)] == [1.0, 1.0, 2.0, 3.0, 5.0]


def test_a_split_is_a_partition():
    parts = split(100, (0.15, 0.1), torch.Generator().manual_seed(0))
    assert [len(part) for part in parts] == [75, 15, 10]
    assert sorted(torch.cat(parts).tolist()) == list(range(100))


def test_the_normaliser_centres_and_leaves_discrete_columns_alone():
    rows = random_rows([STEP], 2000, 3).astype(np.float64)
    normaliser = fit_normaliser(rows, STEP)
    z = normaliser(rows)
    assert np.abs(z[:, :2].mean(axis=0)).max() < 0.01
    assert np.abs(z[:, :2].std(axis=0) - 1).max() < 0.05
    assert (normaliser.scale[2], normaliser.shift[2]) == (1.0, 0.0)
    mantissa, _ = np.frexp(normaliser.scale)
    assert np.all(mantissa * 32 == np.round(mantissa * 32))


def test_a_column_that_never_varies_is_not_blown_up():
    rows = np.tile(np.array([[20.0, 3.0, 1.0]]), (10, 1))
    normaliser = fit_normaliser(rows, STEP)
    assert normaliser.scale[0] == pytest.approx(64 / 40, rel=0.05)
