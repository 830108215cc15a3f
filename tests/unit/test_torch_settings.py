"""What a caller has set torch to is put aside while bounds are computed, and is there again afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rewarden.verifier import extremum, torch_settings
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.torch_settings import plain_torch
from tests.reference.random_graphs import random_mlp, random_record_type


@pytest.fixture(autouse=True)
def _settings_stay() -> Iterator[None]:
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    products = torch_settings._products()
    yield
    torch_settings._set_products(products)
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("precision", ["medium", "high"])
def test_the_format_of_products(precision: str) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        told = torch_settings._products()
        with plain_torch():
            assert torch_settings._products() in ("ieee", "highest")
        assert torch.get_float32_matmul_precision() == precision
        assert torch_settings._products() == told
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(torch_settings._BACKEND is None, reason="torch before 2.9 has one setting for all backends")
@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_the_format_of_products_on_a_cpu_alone(precision: str) -> None:
    """Not by the function for all backends: torch refuses to tell its setting then."""
    torch_settings._set_products(precision)
    with plain_torch():
        assert torch_settings._products() == "ieee"
    assert torch_settings._products() == precision


def test_what_nobody_has_set_is_left_alone() -> None:
    before = torch_settings._products()
    with plain_torch():
        assert torch_settings._products() == before
    assert torch_settings._products() == before


def test_it_is_there_again_after_an_error() -> None:
    torch.set_default_dtype(torch.float64)
    torch_settings._set_products("medium" if torch_settings._BACKEND is None else "bf16")
    told = torch_settings._products()

    def interrupted() -> None:
        with plain_torch(1):
            assert (torch.get_default_dtype(), torch.get_num_threads()) == (torch.float32, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.get_default_dtype() == torch.float64
    assert torch_settings._products() == told


def test_ends_of_a_reward_are_found_whatever_torch_is_set_to() -> None:
    artifact = random_mlp(np.random.default_rng(5), random_record_type(np.random.default_rng(5)), (6, 6))
    box = tuple((column.lo, column.hi) for column in artifact.columns)
    plain = [certified_extremum(artifact, box, sign) for sign in (1, -1)]
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("meta"):  # where tensors have no values: what a GPU that is not there would do to them
        assert [certified_extremum(artifact, box, sign) for sign in (1, -1)] == plain


@pytest.mark.parametrize(("hidden", "expected"), [(8, 1), (100, 2)])
def test_small_rewards_are_bounded_on_one_thread(hidden: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for each other at every small product take many times the work, on a machine that is busy."""
    torch.set_num_threads(2)
    seen: list[int] = []

    def search(*given: object) -> float:
        seen.append(torch.get_num_threads())
        return 0.0

    monkeypatch.setattr(extremum, "_search", search)
    rng = np.random.default_rng(0)
    record = random_record_type(rng)
    artifact = random_mlp(rng, record, (hidden, hidden))
    certified_extremum(artifact, tuple((column.lo, column.hi) for column in artifact.columns), 1)
    assert seen == [expected]
    assert torch.get_num_threads() == 2
