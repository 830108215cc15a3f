"""A sequence classifier's head over its frozen encoder, against `transformers` on models that are made here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import rewarden as rw
from rewarden.cli import run
from rewarden.reward.agreement import evaluate
from rewarden.reward.imports.adapters import Merged, open_adapters
from rewarden.reward.imports.classifier import features_of, outputs_of_classifier
from rewarden.reward.imports.safetensors_file import open_file
from rewarden.reward.refusals import Refusal
from rewarden.spec_lang.errors import ArtifactError, RewardenError, Unsupported
from rewarden.spec_lang.features import Feature, RecordType

HIDDEN, PAD = 16, 3
EMB = RecordType("Emb", (Feature("h", "real", Fraction(-40), Fraction(40), None, (), HIDDEN),))
SMALL = {"hidden_size": HIDDEN, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 24,
         "vocab_size": 50, "max_position_embeddings": 40, "pad_token_id": PAD, "initializer_range": 0.5}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def transformers():
    """Imported once, where its own warnings are not this project's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers as found

        found.logging.set_verbosity_error()
        yield found


def build(transformers, kind: str, labels: int = 1, **options):
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(**{**SMALL, "num_labels": labels, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return model


def texts(padding: str = "right"):
    """Token ids and attention mask of four texts of different lengths."""
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(4, 50, (4, 9), generator=generator)
    mask = torch.ones_like(tokens)
    for row, length in enumerate((9, 4, 7, 1)):
        places = slice(length, None) if padding == "right" else slice(0, 9 - length)
        tokens[row, places], mask[row, places] = PAD, 0
    return tokens, mask


def agrees(model, artifact, output: int = 0, padding: str = "right") -> None:
    """The head on the features that `features_of` picks gives the logits that transformers gives."""
    tokens, mask = texts(padding)
    encoder = getattr(model, model.base_model_prefix)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logits = model(input_ids=tokens, attention_mask=mask).logits[:, output].double().numpy()
        hidden = encoder(input_ids=tokens, attention_mask=mask).last_hidden_state.float().numpy()
    pooling = "last" if "last token" in artifact.learner.record["features"] else "first"
    features = features_of(hidden, tokens.numpy(), pooling, model.config.pad_token_id)
    value, error = evaluate(artifact, features.astype(np.float64))
    stored = next(model.parameters()).dtype
    slack = 0.0 if stored == torch.float32 else 0.05  # a model in bfloat16 rounds each step to 8 bits
    assert np.all(np.abs(logits - value) <= error + slack * (1 + np.abs(value)))
    assert np.ptp(value) > 1e-3


FAMILIES = {
    "Llama": {"num_key_value_heads": 2},
    "Qwen2": {"num_key_value_heads": 1},
    "Bert": {},
    "Roberta": {},
    "DistilBert": {"dim": HIDDEN, "n_heads": 2, "n_layers": 1, "hidden_dim": 24},
    "DebertaV2": {"pooler_hidden_size": HIDDEN, "type_vocab_size": 0},
    "Electra": {"embedding_size": HIDDEN},
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_heads_of_known_families(transformers, tmp_path, kind):
    model = build(transformers, kind, **FAMILIES[kind])
    model.save_pretrained(tmp_path)
    artifact = rw.from_classifier(tmp_path, EMB)
    agrees(model, artifact)
    record = artifact.learner.record
    assert record["encoder"].startswith("sha256:")
    assert "token" in record["features"]
    assert record["padding"]


def test_a_pooler_with_a_leaky_relu(transformers, tmp_path):
    """Its slope was read as 0: another network, without a word."""
    options = {**FAMILIES["DebertaV2"], "pooler_hidden_act": "leaky_relu"}
    model = build(transformers, "DebertaV2", **options)
    with torch.no_grad():
        model.pooler.dense.bias.sub_(1000.0)  # the kink is on one side of all features
        model.classifier.weight.mul_(100.0)
    model.save_pretrained(tmp_path)
    agrees(model, rw.from_classifier(tmp_path, EMB))


def test_padding_on_the_left_of_a_decoder(transformers, tmp_path):
    model = build(transformers, "Llama", num_key_value_heads=2)
    model.save_pretrained(tmp_path)
    artifact = rw.from_classifier(tmp_path, EMB)
    agrees(model, artifact, padding="left")
    assert "either side, told by token 3" in artifact.learner.record["padding"]


def test_several_outputs_shards_and_halves(transformers, tmp_path):
    model = build(transformers, "Llama", 3, num_key_value_heads=2, id2label={0: "rude", 1: "plain", 2: "kind"})
    model = model.to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    with pytest.raises(ArtifactError, match="3 outputs") as caught:
        rw.from_classifier(tmp_path, EMB)
    assert "output=0" in caught.value.help
    for name, output in (("rude", 0), ("kind", 2), (1, 1)):
        artifact = rw.from_classifier(tmp_path, EMB, output=name)
        agrees(model, artifact, output)
        assert artifact.learner.record["stored as"] == "BF16"
        (weight,) = (artifact.tensors[name] for name in artifact.tensors if artifact.tensors[name].shape == (3, HIDDEN))
        assert np.array_equal(weight, model.score.weight.detach().float().numpy())
    every = outputs_of_classifier(tmp_path, (("s", EMB),))
    assert list(every) == ["rude", "plain", "kind"]
    assert every["kind"].digest == rw.from_classifier(tmp_path, EMB, output="kind").digest
    named = outputs_of_classifier(tmp_path, (("s", EMB),), ("A", "B", "C"))
    for output, artifact in enumerate(named.values()):
        agrees(model, artifact, output)
    with pytest.raises(ArtifactError, match=r"A38.*3 outputs, and 2 names"):
        outputs_of_classifier(tmp_path, (("s", EMB),), ("A", "B"))
    with pytest.raises(ArtifactError, match="no output 'gruff'"):
        rw.from_classifier(tmp_path, EMB, output="gruff")


def test_a_head_of_several_layers_is_declared(transformers, tmp_path):
    model = build(transformers, "Llama", num_key_value_heads=2)
    model.score = nn.Sequential(nn.Linear(HIDDEN, 8), nn.SiLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 1))
    model.save_pretrained(tmp_path)
    with pytest.raises(Unsupported, match="head of model type 'llama' is not known") as caught:
        rw.from_classifier(tmp_path, EMB)
    assert "score.0.weight" in caught.value.help
    head = {
        "pooling": "last",
        "layers": [
            {"weight": "score.0.weight", "bias": "score.0.bias", "activation": "silu", "shape": [8, HIDDEN]},
            {"weight": "score.2.weight", "bias": "score.2.bias", "activation": "relu"},
            {"weight": "score.4.weight", "bias": "score.4.bias"},
        ],
    }
    artifact = rw.from_classifier(tmp_path, EMB, head=head)
    agrees(model, artifact)
    (tmp_path / "head.json").write_text(json.dumps(head))
    assert rw.from_classifier(tmp_path, EMB, head=tmp_path / "head.json").digest == artifact.digest


def test_the_encoder_is_named_by_digest(transformers, tmp_path):
    model = build(transformers, "Llama", num_key_value_heads=2)
    model.save_pretrained(tmp_path / "one")
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] += 1.0
    model.save_pretrained(tmp_path / "other")
    one, other = (rw.from_classifier(tmp_path / name, EMB) for name in ("one", "other"))
    assert one.learner.record["encoder"] != other.learner.record["encoder"]
    assert one.digest != other.digest
    rows = np.random.default_rng(0).normal(size=(20, HIDDEN)).astype(np.float32)
    assert np.array_equal(one.score(rows), other.score(rows))
    rw.save_reward(one, tmp_path / "reward")
    assert rw.load_reward(tmp_path / "reward").learner.record == one.learner.record


def test_from_the_command_line(transformers, tmp_path, capsys):
    build(transformers, "Bert", 2).save_pretrained(tmp_path / "model")
    (tmp_path / "emb.rwd").write_text(
        f"spec emb v1\n\nfeatures Emb {{\n  h : real ^ {HIDDEN} in -40 .. 40\n}}\n\nreward H(x: Emb)\n"
    )
    usual = ["import", str(tmp_path / "model"), "--features", str(tmp_path / "emb.rwd"), "-o", str(tmp_path / "reward")]
    assert run(usual) == 2
    assert "--output 0" in capsys.readouterr().err
    assert run([*usual, "--output", "LABEL_1"]) == 0
    told = capsys.readouterr().out
    assert "encoder: sha256:" in told
    assert "first token" in told


def test_neither_torch_nor_transformers_is_loaded_to_import_a_head(transformers, tmp_path):
    build(transformers, "Llama", num_key_value_heads=2).save_pretrained(tmp_path)
    code = f"""
import sys
import rewarden as rw
from rewarden.spec_lang.features import Feature, RecordType
from fractions import Fraction
kind = RecordType("Emb", (Feature("h", "real", Fraction(-1), Fraction(1), None, (), {HIDDEN}),))
rw.from_classifier({str(tmp_path)!r}, kind)
print([name for name in ("torch", "transformers", "peft", "imitation", "onnx") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


# ── adapters ───────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def adapted(transformers, tmp_path_factory):
    """A decoder with adapters on its encoder and its head, unmerged on disk; and the merged model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import peft

        folder = tmp_path_factory.mktemp("adapted")
        model = build(transformers, "Llama", num_key_value_heads=2)
        model.save_pretrained(folder / "base")
        for name, rank, options in (("first", 4, {}), ("second", 2, {"use_rslora": True})):
            config = peft.LoraConfig(
                r=rank, lora_alpha=12, target_modules=["q_proj", "score"], init_lora_weights=False, **options
            )
            wrapped = peft.get_peft_model(model, config)
            wrapped.save_pretrained(folder / name)
            model = wrapped.merge_and_unload()
    return folder, model.eval()


def test_adapters_are_merged_in_their_order(adapted):
    folder, model = adapted
    with pytest.raises(Unsupported, match="rounds"):
        rw.from_classifier(folder / "base", EMB, adapters=[folder / "first"])
    artifact = rw.from_classifier(
        folder / "base", EMB, adapters=[folder / "first", folder / "second"], constants="nearest"
    )
    agrees(model, artifact)
    record = artifact.learner.record
    assert "scaled by 3," not in record["adapter 1"]
    assert record["adapter 1"].endswith("scaled by 3")
    without = rw.from_classifier(folder / "base", EMB)
    rows = np.random.default_rng(0).normal(size=(5, HIDDEN)).astype(np.float32)
    assert np.abs(without.score(rows) - artifact.score(rows)).min() > 1e-3
    assert without.learner.record["encoder"] == record["encoder"]


def test_a_head_that_the_adapter_brings_whole(transformers, adapted, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import peft

        model = build(transformers, "Llama", num_key_value_heads=2)
        config = peft.LoraConfig(r=2, target_modules=["v_proj"], modules_to_save=["score"])
        wrapped = peft.get_peft_model(model, config)
        with torch.no_grad():
            wrapped.base_model.model.score.modules_to_save["default"].weight.normal_()
        wrapped.save_pretrained(tmp_path / "adapter")
        model = wrapped.merge_and_unload().eval()
    agrees(model, rw.from_classifier(adapted[0] / "base", EMB, adapters=[tmp_path / "adapter"]))


def damaged(folder: Path, place: Path, config: dict[str, object] | None = None, tensors=None) -> Path:
    """A copy of an adapter with other words in its config, or with its tensors as `tensors` makes them."""
    shutil.copytree(folder, place)
    if config is not None:
        text = json.loads((place / "adapter_config.json").read_text())
        (place / "adapter_config.json").write_text(json.dumps({**text, **config}))
    if tensors is not None:
        held = load_file(place / "adapter_model.safetensors")
        save_file(tensors(held), place / "adapter_model.safetensors")
    return place


LORA = "base_model.model.score.lora_A.weight"
ADAPTERS = {
    "another kind": ({"peft_type": "IA3"}, None, "X20"),
    "dora": ({"use_dora": True}, None, "X20"),
    "ranks of their own": ({"rank_pattern": {"score": 8}}, None, "X20"),
    "started from the weights": ({"init_lora_weights": "pissa"}, None, "X20"),
    "a rank that is none": ({"r": 0}, None, "A36"),
    "a rank that is true": ({"r": True}, None, "A36"),
    "a scale that is none": ({"lora_alpha": "much"}, None, "A36"),
    "another rank": ({"r": 5}, None, "A36"),
    "half of a layer": (None, lambda held: {k: v for k, v in held.items() if k != LORA}, "A36"),
    "of another width": (None, lambda held: {**held, LORA: torch.zeros(4, 99)}, "A36"),
    "a strange tensor": (None, lambda held: {**held, "extra": torch.zeros(1)}, "A36"),
    "not finite": (None, lambda held: {**held, LORA: torch.full((4, HIDDEN), torch.inf)}, "A18"),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_that_are_refused(adapted, tmp_path, name):
    config, tensors, code = ADAPTERS[name]
    folder = damaged(adapted[0] / "first", tmp_path / "adapter", config, tensors)
    with pytest.raises(RewardenError) as caught:
        rw.from_classifier(adapted[0] / "base", EMB, adapters=[folder], constants="nearest")
    assert caught.value.code == code
    assert caught.value.help


def test_an_adapter_leads_to_no_other_model(adapted, tmp_path):
    """One named twice, one in place of the model, and one whose base is itself."""
    folder = adapted[0]
    with pytest.raises(ArtifactError, match="named twice"):
        rw.from_classifier(folder / "base", EMB, adapters=[folder / "first", folder / "first"], constants="nearest")
    itself = damaged(folder / "first", tmp_path / "adapter", {"base_model_name_or_path": str(tmp_path / "adapter")})
    with pytest.raises(ArtifactError, match="is not followed") as caught:
        rw.from_classifier(itself, EMB)
    assert "--adapter" in caught.value.help


# ── folders that are refused ───────────────────────────────────────────────────────────────────
def small_folder(place: Path, config: dict[str, object], tensors: dict[str, torch.Tensor] | None) -> Path:
    classes = {"architectures": ["SomeForSequenceClassification"]}
    (place / "config.json").write_text(json.dumps({**classes, **config}))
    if tensors is not None:
        save_file(tensors, place / "model.safetensors")
    return place


SCORE = {"score.weight": torch.ones(1, HIDDEN)}
FOLDERS = {
    "no weights": ({"model_type": "llama"}, None, "A30"),
    "an unknown family": ({"model_type": "mystery"}, {"v_head.weight": torch.ones(1, HIDDEN)}, "X20"),
    "code of its own": ({"model_type": "llama", "auto_map": {"AutoModel": "evil.Model"}}, SCORE, "X20"),
    "a norm in the head": ({"model_type": "modernbert"}, {"classifier.weight": torch.ones(1, HIDDEN)}, "X20"),
    "another width": ({"model_type": "llama"}, {"score.weight": torch.ones(1, 9)}, "A32"),
    "a head that is no map": ({"model_type": "llama"}, {"score.weight": torch.ones(HIDDEN)}, "A37"),
    "a head of many outputs": ({"model_type": "llama"}, {"score.weight": torch.ones(70_000, 1)}, "A32"),
    "half a head": ({"model_type": "bert"}, {"classifier.weight": torch.ones(1, HIDDEN)}, "X20"),
    "an activation that is none": (
        {"model_type": "deberta-v2", "pooler_hidden_act": "swoosh"},
        {"pooler.dense.weight": torch.ones(HIDDEN, HIDDEN), "classifier.weight": torch.ones(1, HIDDEN)},
        "X20",
    ),
    "a type that is no text": ({"model_type": ["llama"]}, SCORE, "X20"),
    "no classifier": ({"model_type": "llama", "architectures": ["LlamaModel"]}, SCORE, "X20"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_that_are_refused(tmp_path, name):
    config, tensors, code = FOLDERS[name]
    with pytest.raises(RewardenError) as caught:
        rw.from_classifier(small_folder(tmp_path, config, tensors), EMB)
    assert caught.value.code == code
    assert caught.value.help


def test_a_pickled_classifier_is_refused_with_the_way_out(tmp_path):
    small_folder(tmp_path, {"model_type": "llama"}, None)
    torch.save({"score.weight": torch.ones(1, HIDDEN)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="pickled") as caught:
        rw.from_classifier(tmp_path, EMB)
    assert caught.value.code == "A31"
    assert "save_pretrained" in caught.value.help


def test_a_config_without_end(tmp_path):
    small_folder(tmp_path, {}, SCORE)
    (tmp_path / "config.json").write_bytes(b'{"a":' * 1_000_000)
    with pytest.raises(ArtifactError, match="is not JSON"):
        rw.from_classifier(tmp_path, EMB)
    (tmp_path / "config.json").write_bytes(b" " * (1 << 25))
    with pytest.raises(ArtifactError, match="larger than"):
        rw.from_classifier(tmp_path, EMB)


@pytest.mark.parametrize("rank, tiny, exact", [(1, 2.0**-40, False), (2, 2.0**-40, False), (1, 2.0**-10, True)])
def test_a_merge_that_rounds_is_not_exact(tmp_path, rank, tiny, exact):
    """1 + 2⁻⁸⁰ is 1 in binary64, too: it was taken for the sum."""
    save_file({"score.weight": torch.ones((1, 2))}, tmp_path / "model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank}))
    low, high = torch.full((rank, 2), tiny), torch.full((1, rank), tiny)
    parts = {"lora_A": low, "lora_B": high}
    stored = {f"base_model.model.score.{name}.weight": part for name, part in parts.items()}
    save_file(stored, tmp_path / "adapter_model.safetensors")
    base = open_file(tmp_path / "model.safetensors")
    merged = Merged(base, open_adapters([tmp_path], base), "exact")
    if exact:
        assert (merged.read("score.weight") == np.float32(1 + 2 * rank * tiny**2)).all()
    else:
        with pytest.raises(Refusal, match="rounds"):
            merged.read("score.weight")
