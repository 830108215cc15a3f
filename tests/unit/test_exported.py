"""Networks through `torch.export`: operators compute what torch computes, archives are read without pickle."""

from __future__ import annotations

import contextlib
import io
import json
import pickle  # noqa: TID251 (what a hostile archive holds is made here, and never loaded)
import re
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rewarden as rw
from rewarden.importing import ImportOptions, import_network
from rewarden.reward.agreement import evaluate, random_rows
from rewarden.reward.exact import evaluate as exactly
from rewarden.reward.imports.pt2 import read_pt2
from rewarden.spec_lang.errors import ArtifactError, RewardenError, Unsupported
from rewarden.spec_lang.features import Feature, RecordType

WIDE = RecordType("Wide", (Feature("x", "real", Fraction(-2), Fraction(2), None, (), 4),))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Plain(nn.Module):
    """A module around one expression."""

    def __init__(self, run) -> None:
        super().__init__()
        self.run = run
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 1)
        self.shift = nn.Parameter(torch.randn(6))
        self.register_buffer("numbers", torch.tensor([2, 0, 1]))
        self.register_buffer("factors", torch.tensor([0.5, 2.0, -1.0, 0.25]))

    def forward(self, x):
        return self.run(self, x)


EXPRESSIONS = {
    "three dims": lambda m, x: m.first(x).view(-1, 2, 3).sum(-1).amax(-1),
    "three dims, kept": lambda m, x: m.second(
        m.first(x).reshape(-1, 2, 3).amin(1, keepdim=True).expand(-1, 2, 3).flatten(1)
    ),
    "a layer on parts": lambda m, x: F.linear(x.view(-1, 2, 2), m.factors.view(2, 2)).sum((1, 2)),
    "transposed": lambda m, x: m.second(m.first(x).view(-1, 2, 3).transpose(1, 2).reshape(-1, 6)),
    "permuted and flipped": lambda m, x: m.second(m.first(x).view(-1, 2, 3).permute(0, 2, 1).flip(1).flatten(1)),
    "picked by numbers": lambda m, x: x[:, m.numbers].sum(-1) - x.index_select(1, m.numbers)[:, 0],
    "split, chunked, unbound": lambda m, x: (
        x.split(3, 1)[1].squeeze(1) + x.chunk(2, -1)[1].sum(-1) * 0.5 - x.unbind(1)[2]
    ),
    "batch in the middle": lambda m, x: torch.stack([x[:, :2], x[:, 2:]]).amax(0).mean(-1),
    "batch last": lambda m, x: m.second(m.first(x).t().t()).squeeze(),
    "addmm and matmul": lambda m, x: torch.addmm(m.shift, x, m.first.weight.T) @ m.shift,
    "mv": lambda m, x: torch.mv(m.first(x).relu(), m.shift),
    "a row's own norm": lambda m, x: m.first(x).abs().amax(-1) - m.first(x).square().sum(-1),
    "reversed subtraction": lambda m, x: m.second(1.0 - torch.add(m.first(x), m.shift, alpha=2.0)),
    "prelu of columns": lambda m, x: m.second(F.prelu(m.first(x), m.shift)),
    "logsigmoid": lambda m, x: F.logsigmoid(m.second(m.first(x))),
    "tanhshrink": lambda m, x: m.second(F.tanhshrink(m.first(x))),
    "bounds that are tensors": lambda m, x: m.second(torch.clamp(m.first(x), min=m.shift, max=m.shift.abs())),
    "bounds on one side": lambda m, x: m.second(m.first(x).clamp_min(0.25)) + m.first(x).clamp_max(0.5).sum(-1, True),
    "zeros like": lambda m, x: m.second(torch.maximum(m.first(x), torch.zeros_like(m.first(x)))),
    "a constant joined": lambda m, x: torch.cat([x, m.factors[None].expand(x.shape[0], 4)], 1).amax(1),
    "max over dims": lambda m, x: m.first(x).view(-1, 3, 2).max(dim=2)[0].min(dim=1).values,
    "fixed size branch": lambda m, x: m.second(m.first(x)) if x.shape[1] == 4 else x,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_operators(name):
    module = Plain(EXPRESSIONS[name])
    artifact = rw.from_torch(module, WIDE)
    rows = random_rows([WIDE], 60, 7)
    with torch.no_grad():
        theirs = module(torch.from_numpy(rows)).numpy().reshape(-1)
    value, error = evaluate(artifact, rows.astype(np.float64))
    assert np.all(np.abs(theirs - value) <= error)
    assert error.max() < 1e-3


ROUNDED = {
    "a weight kept positive": lambda m, x: F.linear(m.first(x), F.softplus(m.second.weight), m.second.bias),
    "a weight's root": lambda m, x: m.second(m.first(x) / torch.sqrt(m.shift.abs() + 0.1)),
    "hardswish": lambda m, x: m.second(F.hardswish(m.first(x)) + F.hardsigmoid(m.first(x))),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_constants_that_round_are_said_to(name):
    module = Plain(ROUNDED[name])
    with pytest.raises(Unsupported, match="no exact binary32 form") as caught:
        rw.from_torch(module, WIDE)
    assert "nearest" in caught.value.help
    rw.from_torch(module, WIDE, constants="nearest")  # holds it against the module itself


def test_exact_values_are_those_of_torch_in_double_precision():
    """The stored numbers are binary32; torch in binary64 computes the same function of them, up to 1e-12."""
    module = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(0.25), nn.Linear(8, 8), nn.Hardtanh(), nn.Linear(8, 1)
    )
    artifact = rw.from_torch(module, WIDE)
    rows = random_rows([WIDE], 20, 3)
    with torch.no_grad():
        theirs = module.double()(torch.from_numpy(rows).double()).numpy()[:, 0]
    ours = [float(exactly(artifact, [Fraction(float(v)) for v in row])) for row in rows]
    assert np.abs(theirs - ours).max() < 1e-12


def in_place(m, x):
    """What is changed under another name is changed."""
    h = m.first(x)
    g = F.relu(h, inplace=True)
    g += h
    h.mul_(2.0)
    return m.second(g)


def counting(m, x):
    m.factors += 1.0
    return (x * m.factors).sum(-1)


def filled(m, x):
    h = m.first(x)
    h[:, 0] = 0.5
    return m.second(h)


def test_what_is_changed_in_place_is_read_as_it_then_is():
    rw.from_torch(Plain(in_place), WIDE)  # holds it against the module itself
    with pytest.raises(Unsupported, match=r"fill|scatter"):
        rw.from_torch(Plain(filled), WIDE)
    with pytest.raises(Unsupported, match="changes factors") as caught:
        rw.from_torch(Plain(counting), WIDE)
    assert "eval" in caught.value.help


def test_an_archive_that_changes_tensors_in_place_is_refused(tmp_path):
    exported = torch.export.export(Plain(in_place), (torch.zeros(3, 4),), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(exported, tmp_path / "net.pt2")
    with pytest.raises(Unsupported, match="in place") as caught:
        rw.from_exported(tmp_path / "net.pt2", WIDE)
    assert "run_decompositions" in caught.value.help


REFUSED = {
    "rows that mix": (lambda m, x: m.second(m.first(x)) + x.sum(0).sum(), "dim 0|all dims"),
    "all dims": (lambda m, x: m.second(m.first(x)) - m.first(x).mean(), "all dims"),
    "rows turned over": (lambda m, x: m.second(m.first(x).flip(0)), "dim 0"),
    "rows joined": (lambda m, x: m.second(torch.cat([m.first(x), m.first(x)], 0)).view(2, -1).sum(0), "dim 0"),
    "rows left out": (lambda m, x: m.second(m.first(x))[1:], "traced"),
    "rows as columns": (lambda m, x: (x @ x.t()).amax(-1), "depend on the input"),
    "choice": (lambda m, x: m.second(torch.where(m.first(x) > 0, m.first(x), -1.0)), "where|gt"),
    "einsum": (lambda m, x: torch.einsum("nk,k->n", m.first(x), m.shift.sin()), "sin|einsum"),
    "rounded quotient": (lambda m, x: torch.div(x, 2.0, rounding_mode="floor").sum(-1), "rounds"),
    "doubles": (lambda m, x: m.second(m.first(x)).double().float(), "float64"),
    "number of rows": (lambda m, x: m.second(m.first(x)) / x.shape[0], "number of rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused_where_it_happens(name):
    run, words = REFUSED[name]
    with pytest.raises(Unsupported) as caught:
        rw.from_torch(Plain(run), WIDE)
    assert caught.value.code == ("X21" if name == "rows left out" else "X20")
    assert caught.value.help
    assert re.search(words, caught.value.message), caught.value.message


def test_a_layer_is_named_by_its_place_in_the_module():
    module = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Softsign()), nn.Linear(4, 1))
    with pytest.raises(Unsupported, match=r"layer 1\.1 \(Softsign\)"):
        rw.from_torch(module, WIDE)


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0), nn.Linear(4, 1))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    rw.from_torch(module, WIDE)
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


# ── archives ───────────────────────────────────────────────────────────────────────────────────
class Net(nn.Module):
    """A bit of everything that an archive has to say: parameters, buffers, lists, symbols, several results."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 1)
        self.register_buffer("factors", torch.tensor([0.5, 2.0, -1.0, 0.25]))

    def forward(self, x):
        h = F.gelu(self.first(x * self.factors))
        return self.second(h).squeeze(-1) + torch.cat([h, x[:, :2]], -1).view(-1, 4, 2).max(-1).values.sum(-1)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(3)
    return Net().eval()


@pytest.fixture(scope="module")
def program(net):
    return torch.export.export(net, (torch.zeros(3, 4),), dynamic_shapes=({0: torch.export.Dim("rows")},))


@pytest.fixture(scope="module")
def archive(program, tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "net.pt2"
    torch.export.save(program, path)
    return path


def test_a_program_an_archive_and_the_module_give_one_graph(net, program, archive):
    module, live, read = rw.from_torch(net, WIDE), rw.from_exported(program, WIDE), rw.from_exported(archive, WIDE)
    rows = random_rows([WIDE], 50, 1)
    assert module.digest == live.digest  # nothing but names of places could differ
    assert read.graph == live.graph
    assert read.score(rows).tobytes() == live.score(rows).tobytes()
    assert read.learner.record["file"].startswith("sha256:")
    with torch.no_grad():
        assert np.abs(read.score(rows) - net(torch.from_numpy(rows)).numpy()).max() < 1e-5


def test_the_command_line_reads_an_archive(archive, tmp_path, run_rewarden):
    (tmp_path / "net.rwd").write_text(
        "spec net v1\n\nfeatures Wide {\n  x : real ^ 4 in -2 .. 2\n}\n\nreward R(s: Wide)\n"
    )
    done = run_rewarden("import", str(archive), "--features", str(tmp_path / "net.rwd"), "-o", str(tmp_path / "reward"))
    assert done == 0
    assert rw.load_reward(tmp_path / "reward").width == 4


class Recurrent(nn.Module):
    """Two columns at a time; exported, an LSTM begins with the zeros that it makes, and a cell is in a loop."""

    def __init__(self, layer) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(3, 1)

    def forward(self, x):
        parts = x.view(-1, 2, 2)
        if isinstance(self.layer, nn.RNNBase):
            return self.head(self.layer(parts)[0][:, -1])
        h = torch.zeros(x.shape[0], 3)
        return self.head(self.layer(parts[:, 1], self.layer(parts[:, 0], h)))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRUCell])
def test_recurrence_in_an_archive_is_named_before_weights_and_specs_are_read(kind, tmp_path, monkeypatch):
    layer = kind(2, 3, batch_first=True) if kind is nn.LSTM else kind(2, 3)
    rows = torch.export.Dim("rows", min=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about its own LSTM
        program = torch.export.export(Recurrent(layer), (torch.zeros(5, 4),), dynamic_shapes=({0: rows},), strict=False)
    torch.export.save(program, tmp_path / "net.pt2")
    monkeypatch.setattr("rewarden.reward.imports.pt2._weights", lambda *_: pytest.fail("weights were read"))
    named = rf"layer layer \({kind.__name__}\).*recurrence is not supported"
    for source in (program, tmp_path / "net.pt2"):
        with pytest.raises(Unsupported, match=named) as caught:
            rw.from_exported(source, WIDE)
        assert "verify the head" in caught.value.help
    with pytest.raises(Unsupported, match=named):
        import_network(tmp_path / "net.pt2", tmp_path / "no spec is here.rwd", ImportOptions())


def test_a_tensor_that_the_network_makes_is_said_to_be_one():
    module = Plain(lambda m, x: m.second(m.first(x) + torch.ones(6)))
    with pytest.raises(Unsupported, match="makes a tensor while the network runs") as caught:
        rw.from_torch(module, WIDE)
    assert "register_buffer" in caught.value.help


def test_features_that_do_not_fit_an_archive(archive):
    narrow = RecordType("Narrow", (Feature("x", "real", Fraction(0), Fraction(1), None, (), 3),))
    with pytest.raises(ArtifactError, match="3 columns") as caught:
        rw.from_exported(archive, narrow)
    assert caught.value.code == "A32"


def rewritten(archive: Path, path: Path, change, compress=zipfile.ZIP_STORED) -> Path:
    """A copy of the archive with each entry's bytes as `change(name, data)` gives them; None leaves it out."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w", compress) as new:
        for entry in old.infolist():
            data = change(entry.filename.partition("/")[2], old.read(entry))
            if data is not None:
                new.writestr(entry.filename, data)
    return path


def in_json(name: str, edit):
    def change(entry: str, data: bytes) -> bytes:
        if entry != name:
            return data
        found = json.loads(data)
        edit(found)
        return json.dumps(found).encode()

    return change


def test_sample_inputs_are_never_unpickled(archive, tmp_path):
    path = tmp_path / "net.pt2"
    flag = tmp_path / "flag"
    bomb = b"cos\nsystem\n(S'touch " + str(flag).encode() + b"'\ntR."
    rewritten(archive, path, lambda name, data: bomb if "sample_inputs" in name else data)
    rw.from_exported(path, WIDE)
    assert not flag.exists()


HOSTILE = {
    "pickled weights": (
        in_json("data/weights/model_weights_config.json", lambda d: d["config"]["first.bias"].update(use_pickle=True)),
        "A31",
    ),
    "a weight of another shape": (
        in_json(
            "data/weights/model_weights_config.json",
            lambda d: d["config"]["first.bias"]["tensor_meta"].update(sizes=[{"as_int": 1 << 38}]),
        ),
        "A30",
    ),
    "a weight that overlaps": (
        in_json(
            "data/weights/model_weights_config.json",
            lambda d: d["config"]["first.weight"]["tensor_meta"].update(strides=[{"as_int": 0}, {"as_int": 1}]),
        ),
        "A30",
    ),
    "another schema": (in_json("models/model.json", lambda d: d["schema_version"].update(major=99)), "A30"),
    "no network": (lambda name, data: None if name.startswith("models/") else data, "A30"),
    "a network that is none": (in_json("models/model.json", lambda d: d.pop("graph_module")), "A30"),
    "not JSON": (lambda name, data: b"{" * 100_000 if name == "models/model.json" else data, "A30"),
    "another library": (
        in_json(
            "models/model.json",
            lambda d: d["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.evil.run.default"),
        ),
        "X20",
    ),
    "reads itself": (
        in_json(
            "models/model.json",
            lambda d: d["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"]["as_tensor"].update(name="gelu"),
        ),
        "X20",
    ),
    "not a number": (
        lambda name, data: b"\x00\x00\xc0\x7f" * (len(data) // 4) if name == "data/weights/weight_0" else data,
        "A18",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(archive, tmp_path, name):
    change, code = HOSTILE[name]
    with pytest.raises(RewardenError) as caught:
        rw.from_exported(rewritten(archive, tmp_path / "net.pt2", change), WIDE)
    assert caught.value.code == code
    assert caught.value.help or code == "A18"


def test_huge_shapes_are_refused_before_they_are_made(archive, tmp_path):
    def grow(model):
        values = model["graph_module"]["graph"]["tensor_values"]
        for meta in values.values():
            meta["sizes"] = [{"as_int": 1 << 39} if size == {"as_int": 6} else size for size in meta["sizes"]]

    with pytest.raises(RewardenError) as caught:
        rw.from_exported(rewritten(archive, tmp_path / "net.pt2", in_json("models/model.json", grow)), WIDE)
    assert caught.value.code in ("X20", "A30", "A32")


def test_a_packed_archive_is_not_unpacked(archive, tmp_path):
    path = rewritten(archive, tmp_path / "net.pt2", lambda _, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(ArtifactError, match="compressed"):
        rw.from_exported(path, WIDE)


def test_any_damage_to_the_networks_text_is_an_error_of_ours(archive, tmp_path):
    """A value of the JSON replaced by one of another kind: an error with a code, or a network that passes."""
    with zipfile.ZipFile(archive) as file:
        (name,) = (n for n in file.namelist() if n.endswith("models/model.json"))
        text = file.read(name)
    places = [m.start() for m in re.finditer(rb": ", text)]
    rng = np.random.default_rng(0)
    for place in rng.choice(places, 40, replace=False):
        for junk in (b"null", b'"x"', b"-1", b"[]"):
            end = re.compile(rb"[,}\]]").search(text, int(place)).start()
            broken = text[: place + 2] + junk + text[end:]

            def change(entry: str, data: bytes, broken: bytes = broken) -> bytes:
                return broken if entry == "models/model.json" else data

            path = rewritten(archive, tmp_path / "net.pt2", change)
            with contextlib.suppress(ArtifactError):  # anything else is a failure
                assert read_pt2(path).inputs


# ── pickles ────────────────────────────────────────────────────────────────────────────────────
def torch_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, buffer)
    return buffer.getvalue()


PICKLES = {
    "model.pt": (torch_file, "from_torch"),
    "pytorch_model.bin": (torch_file, "save_pretrained"),
    "model.safetensors": (lambda: pickle.dumps([1.0]), "from_torch"),
    "model.onnx": (lambda: pickle.dumps({"a": 1}, protocol=2), "from_torch"),
    "model.pkl": (lambda: pickle.dumps({"a": 1}, protocol=0), "skl2onnx"),
    "model.joblib": (lambda: __import__("zlib").compress(b"x" * 100), "skl2onnx"),
    "packed.dat": (lambda: __import__("gzip").compress(bytes(10_000_000)), "skl2onnx"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_are_told_by_their_content_and_refused_with_the_way_out(tmp_path, name, run_rewarden, capsys):
    content, way = PICKLES[name]
    (tmp_path / name).write_bytes(content())
    (tmp_path / "net.rwd").write_text("spec net v1\n\nfeatures W {\n  x : real in 0 .. 1\n}\n\nreward R(s: W)\n")
    place = ["import", str(tmp_path / name), "--features", str(tmp_path / "net.rwd"), "-o", str(tmp_path / "reward")]
    assert run_rewarden(*place) == 2
    told = capsys.readouterr().err
    assert "error[A31]" in told
    assert way in " ".join(told.split())
    assert not (tmp_path / "reward").exists()


@pytest.fixture
def run_rewarden():
    from rewarden.cli import run

    return lambda *arguments: run(arguments)
