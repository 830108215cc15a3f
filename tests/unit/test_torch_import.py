"""Torch modules: what is imported computes what the module computes, and everything else is refused by name."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rewarden.reward.agreement import evaluate, random_rows
from rewarden.reward.deployed import forward
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import Feature, RecordType

STEP = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(4), "m/s"),
        Feature("near", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), None, ("aisle", "dock")),
    ),
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def agrees(module: nn.Module, features=STEP, **options):
    artifact = from_torch(module, features, **options)
    types = [record.type for record in artifact.records]
    rows = random_rows(types, 100, 31)
    with torch.no_grad():
        if len(types) > 1:
            theirs = module(*torch.from_numpy(rows).split([t.width for t in types], dim=1))
        else:
            theirs = module(torch.from_numpy(rows))
    value, error = evaluate(artifact, rows.astype(np.float64))
    assert np.all(np.abs(theirs.numpy().reshape(-1) - value) <= error)
    assert np.all(np.abs(forward(artifact, rows) - value) <= error)
    assert error.max() < 1e-4 * (10 + np.abs(value).max())
    return artifact


def test_a_sequential_network():
    artifact = agrees(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(0.1), nn.Linear(8, 1)))
    assert artifact.records[0].param == "s"
    assert artifact.width == 4


def test_nested_sequentials_and_layers_that_do_nothing():
    inner = nn.Sequential(nn.Linear(4, 6), nn.ReLU6(), nn.Identity(), nn.Dropout(0.5))
    agrees(
        nn.Sequential(inner, nn.Flatten(), nn.Linear(6, 5, bias=False), nn.Hardtanh(-0.5, 2.0), nn.Linear(5, 1)).eval()
    )


def test_one_parameter_prelu():
    agrees(nn.Sequential(nn.Linear(4, 3), nn.PReLU(), nn.Linear(3, 1)))


def test_later_training_does_not_reach_the_artifact():
    module = nn.Sequential(nn.Linear(4, 1))
    artifact = from_torch(module, STEP)
    digest, rows = artifact.digest, random_rows([STEP], 5, 0)
    before = forward(artifact, rows)
    with torch.no_grad():
        module[0].weight.add_(1.0)
    assert np.array_equal(forward(artifact, rows), before)
    assert artifact.digest == digest


class Plain(nn.Module):
    """A module around one expression."""

    def __init__(self, run) -> None:
        super().__init__()
        self.run = run
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 1)
        self.shift = nn.Parameter(torch.randn(4))
        self.register_buffer("factor", torch.tensor([0.5, 2.0, -1.0, 0.3]))

    def forward(self, x):
        return self.run(self, x)


EXPRESSIONS = {
    "residual": lambda m, x: m.second(F.relu(m.first(x)) + m.first(x) - 0.1),
    "normaliser": lambda m, x: m.second(m.first((x - m.shift) * m.factor).relu()),
    "numbers on both sides": lambda m, x: m.second(m.first(1.5 - 0.25 * x)),
    "division by 4": lambda m, x: m.second(m.first(x / 4.0)),
    "abs and neg": lambda m, x: m.second(abs(-m.first(x)) + torch.abs(m.first(x))),
    "clamp": lambda m, x: m.second(m.first(x).clamp(-0.5, 0.5) + torch.clamp(m.first(x), min=0.1)),
    "clip": lambda m, x: m.second(torch.clip(m.first(x), max=0.2).clip(min=-1.0)),
    "minimum and maximum": lambda m, x: m.second(torch.minimum(m.first(x), torch.maximum(-m.first(x), m.first(x)))),
    "min of two": lambda m, x: m.second(torch.min(m.first(x), -m.first(x))),
    "amax": lambda m, x: m.first(x).amax(dim=-1),
    "amin kept": lambda m, x: torch.amin(m.first(x), dim=1, keepdim=True),
    "max with indices": lambda m, x: m.first(x).max(dim=1).values,
    "min with indices": lambda m, x: torch.min(m.first(x), dim=-1)[0],
    "cat": lambda m, x: m.second(m.first(torch.cat([x[:, :2], x[:, 2:].abs()], dim=1))),
    "one column": lambda m, x: m.second(m.first(x))[:, 0] + 2 * x[:, 1] - x[..., -1],
    "squeeze": lambda m, x: m.second(F.leaky_relu(m.first(x), 0.2)).squeeze(-1),
    "sum": lambda m, x: m.first(x).relu().sum(dim=-1),
    "mean of four": lambda m, x: x.mean(dim=1, keepdim=True),
    "functional linear": lambda m, x: F.linear(x, m.first.weight, m.first.bias).sum(-1),
    "hardtanh and relu6": lambda m, x: m.second(F.hardtanh(m.first(x)) + F.relu6(m.first(x))),
    "every other column": lambda m, x: x[:, ::2].sum(-1),
    "constants fold": lambda m, x: m.second(m.first(x + m.factor * 2.0)),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(name):
    agrees(Plain(EXPRESSIONS[name]))


def test_two_records_as_two_tensors():
    class Advantage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Linear(4, 1)

        def forward(self, before, after):
            return (self.value(after) - self.value(before)).squeeze(1)

    artifact = agrees(Advantage(), [("a", STEP), ("b", STEP)], identified="shift")
    assert [record.param for record in artifact.records] == ["a", "b"]
    assert artifact.identified == "shift"


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 7), st.sampled_from([nn.ReLU, nn.LeakyReLU, nn.Hardtanh, nn.Identity])), max_size=4
    ),
    st.integers(0, 2**31),
)
def test_random_networks(layers, seed):
    torch.manual_seed(seed)
    modules, width = [], 4
    for units, kind in layers:
        modules += [nn.Linear(width, units), kind()]
        width = units
    agrees(nn.Sequential(*modules, nn.Linear(width, 1)))


# ── refusals ───────────────────────────────────────────────────────────────────────────────────
REFUSED = {
    "strange layer": (nn.Sequential(nn.Linear(4, 3), nn.Softsign(), nn.Linear(3, 1)), r"layer 1 \(Softsign\)"),
    "unknown layer": (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 1)), "LayerNorm"),
    "batch norm": (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)).eval(), "BatchNorm1d"),
    "dropout in training": (nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Linear(3, 1)), "training mode"),
    "steep leak": (nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(1.5), nn.Linear(3, 1)), "slope"),
    "quotient": (Plain(lambda m, x: m.second(m.first(x) / m.first(x))), "divides"),
    "inexact division": (Plain(lambda m, x: m.second(m.first(x / 3.0))), "no exact binary32 form"),
    "unknown function": (Plain(lambda m, x: torch.sin(m.second(m.first(x)))), "sin"),
    "unknown method": (Plain(lambda m, x: m.second(m.first(x)).cos()), "cos"),
    "over rows": (Plain(lambda m, x: m.second(m.first(x - x.mean(dim=0)))), "dim 0"),
    "columns picked by the input": (Plain(lambda m, x: x[:, x[0].argsort()].sum(-1)), "rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_imported_is_refused_by_name(name):
    module, words = REFUSED[name]
    with pytest.raises(Unsupported, match=words) as caught:
        from_torch(module, STEP)
    assert caught.value.code == "X20"
    assert caught.value.help


class Cells(nn.Module):
    """A recurrent cell in a loop of Python, over zeros that are made on the way: symbolic tracing gives up on it."""

    def __init__(self, cell) -> None:
        super().__init__()
        self.norm, self.cell, self.head = nn.BatchNorm1d(4), cell, nn.Linear(3, 1)

    def forward(self, x):
        x, h = self.norm(x), torch.zeros(x.shape[0], 3)
        for k in range(2):
            h = self.cell(x[:, 2 * k : 2 * k + 2], h)
        return self.head(h)


class Choosing(nn.Module):
    """It asks what its input is, and has attention."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(2, 1, 8, 0.0, batch_first=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        y = x if x.sum() <= 0 else -x
        return self.head(self.encoder(y.view(-1, 2, 2)).flatten(1))


@pytest.mark.parametrize(
    "module, place, why",
    [
        (Cells(nn.GRUCell(2, 3)), r"layer cell \(GRUCell\)", "recurrence"),
        (Cells(nn.RNNCell(2, 3)), r"layer cell \(RNNCell\)", "recurrence"),
        (Choosing(), r"layer encoder \(TransformerEncoderLayer\)", "attention"),
        (Plain(lambda m, x: m.second(m.first(x).softmax(-1))), "softmax", "attention"),
        (Plain(lambda m, x: m.second(nn.functional.layer_norm(m.first(x), (5,)))), "layer_norm", "normalises"),
    ],
)
def test_layers_are_named_before_anything_is_exported(monkeypatch, module, place, why):
    """What `forward` calls is seen without `torch.export`, which takes seconds, and the module is as it was."""
    monkeypatch.setattr("rewarden.reward.torch_import.export_module", lambda *_: pytest.fail("exported"))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(Unsupported, match=f"{place}.*{why}") as caught:
        from_torch(module, STEP)
    assert caught.value.code == "X20"
    assert "verify the head" in caught.value.help
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(layer._forward_pre_hooks for layer in module.modules())


def test_a_layer_that_is_held_and_not_called_is_no_reason():
    module = Plain(lambda m, x: m.second(m.first(x)) if x.shape[0] else x)
    module.encoder = nn.LSTM(4, 4)
    agrees(module)


def test_an_inexact_constant_may_be_rounded_on_request():
    module = Plain(lambda m, x: m.second(m.first(x / 3.0)))
    rows = random_rows([STEP], 50, 0)
    with torch.no_grad():
        theirs = module(torch.from_numpy(rows))[:, 0].numpy()
    assert np.allclose(forward(from_torch(module, STEP, constants="nearest"), rows), theirs, atol=1e-5)


def test_branches_on_the_input_cannot_be_traced(capfd):
    with pytest.raises(Unsupported, match="cannot be traced") as caught:
        from_torch(Plain(lambda m, x: x[:, 0] if x.sum() > 0 else x[:, 1]), STEP)
    assert caught.value.code == "X21"
    assert capfd.readouterr() == ("", "")  # torch would print the graph that it has


def test_a_network_of_another_width_is_told_what_columns_there_are(caplog, capfd):
    width = STEP.width
    with pytest.raises(Unsupported, match="cannot be traced") as caught:
        from_torch(nn.Sequential(nn.Linear(width - 2, 4), nn.ReLU(), nn.Linear(4, 1)), STEP)
    assert caught.value.help is not None
    assert f"reads {width - 2} columns, the features have {width}" in caught.value.help
    assert "Traceback" not in capfd.readouterr().err + caplog.text


def test_a_reshape_that_mixes_rows_is_caught():
    with pytest.raises(Unsupported, match=r"cannot be traced|mixes rows") as caught:
        from_torch(
            Plain(lambda m, x: m.second(m.first(x.reshape(4, -1).reshape(-1, 4) + x.view(2, -1).sum(-1).sum()))), STEP
        )
    assert caught.value.code in ("X20", "X21")
    shuffled = Plain(lambda m, x: m.second(m.first(x)).squeeze(-1) - m.second(m.first(x)))
    with pytest.raises(Unsupported, match="rows do not fall on one another") as caught:  # [n] − [n, 1] gives [n, n]
        from_torch(shuffled, STEP)
    assert caught.value.code == "X20"


@pytest.mark.parametrize(
    "module, words",
    [
        (nn.Sequential(nn.Linear(4, 1)).double(), "float64"),
        (nn.Sequential(nn.Linear(4, 1)).half(), "float16"),
        (nn.Sequential(nn.Linear(4, 2)), "2 columns"),
    ],
)
def test_shapes_and_precisions(module, words):
    with pytest.raises(ArtifactError, match=words) as caught:
        from_torch(module, STEP)
    assert caught.value.code == "A32"


def test_features_that_do_not_fit_the_first_layer():
    with pytest.raises(Unsupported, match="4 columns"):
        from_torch(nn.Sequential(nn.Linear(3, 1)), STEP)


def test_weights_that_are_not_finite_are_refused():
    module = nn.Sequential(nn.Linear(4, 1))
    with torch.no_grad():
        module[0].weight[0, 0] = float("inf")
    with pytest.raises(ArtifactError, match=r"0\.weight") as caught:
        from_torch(module, STEP)
    assert caught.value.code == "A18"
