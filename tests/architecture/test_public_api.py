"""The public names. A change here is a change of what people's programs rely on: make it on purpose."""

from __future__ import annotations

from importlib import import_module

import pytest

PUBLIC = {
    "rewarden": [
        "RewardenError",
        "__version__",
        "audit_report",
        "bake",
        "certify",
        "check",
        "check_certificate",
        "compare_patches",
        "diff",
        "encode",
        "export_onnx",
        "falsify",
        "from_classifier",
        "from_exported",
        "from_imitation",
        "from_onnx",
        "from_safetensors",
        "from_torch",
        "inspect",
        "learn",
        "load_reward",
        "load_spec",
        "merge",
        "patch",
        "promise",
        "revert",
        "save_reward",
        "score_file",
        "squash",
        "unlearn",
        "verify",
        "with_texts",
    ],
    "rewarden.spec_lang": [
        "DataDecl",
        "Feature",
        "Obligation",
        "RecordType",
        "RewardDecl",
        "RewardenError",
        "Rule",
        "Spec",
        "SpecError",
        "load_spec",
        "parse_spec",
    ],
    "rewarden.reward": [
        "Artifact",
        "DataSource",
        "Edit",
        "Graph",
        "Learner",
        "Patch",
        "RewardRecord",
        "check_binding",
        "deployed_error",
        "enclose",
        "evaluate",
        "forward",
        "history",
        "load_artifact",
        "save_artifact",
        "statistic",
    ],
    "rewarden.verifier": [
        "ExactProgram",
        "Program",
        "Progress",
        "Reason",
        "RuleResult",
        "Verdict",
        "VerificationResult",
        "VerifyOptions",
        "Witness",
        "Work",
        "compile_program",
        "replay",
        "verify",
        "verify_claim",
    ],
    "rewarden.editor": ["Drift", "EditReport", "PatchOptions", "PatchResult", "drift"],
    "rewarden.ci": ["CiOptions", "Outcome", "fingerprint", "run_ci"],
    "rewarden.report": ["CertificateFacts", "Story", "render"],
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_names_are_these(name: str) -> None:
    assert sorted(import_module(name).__all__) == sorted(PUBLIC[name])


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_others_are_not(name: str) -> None:
    module = import_module(name)
    for public in PUBLIC[name]:
        assert getattr(module, public) is not None
    with pytest.raises(AttributeError):
        _ = module.no_such_name
