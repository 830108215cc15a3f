"""Artifacts from networks that were made elsewhere, with the features of a spec: what `import` is wired to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from rewarden.nearby import did_you_mean
from rewarden.spec_lang.errors import UsageError

if TYPE_CHECKING:  # a stranger's encoder is refused before any of this is loaded
    from rewarden.reward.artifact import Artifact, Identified
    from rewarden.spec_lang.features import RecordType

Records: TypeAlias = "Sequence[tuple[str, RecordType]]"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the command line says of an import, beside the file and the spec."""

    reward: str | None = None
    identified: str = "exact"
    constants: str = "exact"
    architecture: Path | None = None
    adapters: tuple[Path, ...] = ()
    output: str | None = None


def import_network(file: Path, spec_path: Path, options: ImportOptions) -> Artifact:
    """An artifact of what lies at `file`, for a reward that the spec declares (its first, unless named).

    Its content says what it is: an ONNX network, a `.pt2` archive, safetensors (with an architecture), or the folder
    of a sequence classifier. UsageError (G codes) for options that do not go with it.
    """
    from rewarden.reward.imports.safe_files import kind_of

    identified, constants = _choices(options)
    kind = kind_of(file)
    _check_options(kind, options)
    _refuse_at_sight(kind, file)
    _refuse_bare_tensors(kind, file, options)
    records = _records(spec_path, options.reward)
    if kind == "other":
        _refuse_columns(file, records)
    match kind:
        case "folder":
            from rewarden.reward.imports.classifier import from_classifier

            return from_classifier(
                file,
                records,
                output=options.output,
                adapters=options.adapters,
                head=options.architecture,
                identified=identified,
                constants=constants,
            )
        case "safetensors":
            from rewarden.reward.imports.declared import from_safetensors

            assert options.architecture is not None, "bare tensors are refused"
            return from_safetensors(file, options.architecture, records, identified=identified, constants=constants)
        case "pt2":
            from rewarden.reward.imports.from_program import from_exported

            return from_exported(file, records, identified=identified, constants=constants)
        case "other":
            from rewarden.reward.onnx_import import from_onnx

            return from_onnx(file, records, identified=identified, constants=constants, output=_column(options.output))


def import_outputs(file: Path, spec_path: Path, options: ImportOptions, names: str) -> dict[str, Artifact]:
    """An artifact for each output of a network, for the rewards of the spec that `names` lists in their order.

    UsageError G72 for a name that the spec does not declare, G37 where the file has no outputs to name.
    """
    from rewarden.reward.imports.safe_files import kind_of

    identified, constants = _choices(options)
    _refuse_at_sight(kind_of(file), file)
    wanted = [name.strip() for name in names.split(",")]
    records = [_records(spec_path, name) for name in wanted]
    if any(one != records[0] for one in records):
        raise UsageError(
            "G37", "the rewards that --outputs names read different records", help="name those of one kind"
        )
    kind = kind_of(file)
    _check_options(kind, options)
    if options.output is not None:
        raise UsageError("G37", "--output does not go with --outputs", help="leave one of them out")
    if kind == "folder":
        from rewarden.reward.imports.classifier import outputs_of_classifier

        return outputs_of_classifier(
            file,
            records[0],
            wanted,
            adapters=options.adapters,
            head=options.architecture,
            identified=identified,
            constants=constants,
        )
    if kind != "other":
        raise UsageError("G37", f"--outputs does not go with {_called(kind)}", help="import one output at a time")
    from rewarden.reward.onnx_import import outputs_of_onnx

    return outputs_of_onnx(file, records[0], wanted, identified=identified, constants=constants)


def _refuse_at_sight(kind: str, file: Path) -> None:
    """A stranger's encoder, before the spec is read, which takes as long as all else that has to be done for this."""
    if kind == "other":
        from rewarden.reward.refusals import refuse_onnx

        refuse_onnx(file)
    if kind == "pt2":
        from rewarden.reward.imports.pt2 import refuse_at_sight

        refuse_at_sight(file)


def _refuse_columns(file: Path, records: Records) -> None:
    """An ONNX network of other columns than the records', before the onnx package is loaded."""
    from rewarden.reward.onnx_inputs import fitting, network_input
    from rewarden.reward.onnx_scan import scan

    inputs = scan(file).inputs
    if inputs is not None:
        fitting(tuple(network_input(value) for value in inputs), records)


def _refuse_bare_tensors(kind: str, file: Path, options: ImportOptions) -> None:
    if kind == "safetensors" and options.architecture is None:
        raise UsageError(
            "G36",
            f"{file} holds tensors and does not say what network they are of",
            help="say it in a file: --architecture FILE (docs/bring-your-own.md); the folder of a sequence classifier"
            " says it itself",
        )


def _column(output: str | None) -> int | None:
    if output is not None and not output.isdecimal():
        raise UsageError("G37", f"--output {output}: the outputs of an ONNX network have numbers", help="from 0 on")
    return None if output is None else int(output)


def _called(kind: str) -> str:
    return {"safetensors": "a safetensors file", "pt2": "an exported program"}.get(kind, "an ONNX network")


def _choices(options: ImportOptions) -> tuple[Identified, Literal["exact", "nearest"]]:
    if options.identified not in ("exact", "shift", "affine"):
        raise UsageError(
            "G30",
            f"--identified {options.identified}",
            help=did_you_mean(options.identified, ("exact", "shift", "affine")),
        )
    if options.constants not in ("exact", "nearest"):
        raise UsageError(
            "G33", f"--constants {options.constants}", help=did_you_mean(options.constants, ("exact", "nearest"))
        )
    return cast("Identified", options.identified), cast(Literal["exact", "nearest"], options.constants)


def _records(spec_path: Path, reward: str | None) -> Records:
    from rewarden.spec_lang import load_spec

    spec = load_spec(spec_path)
    if not spec.rewards:
        raise UsageError("G31", f"{spec_path} declares no reward", help="add: reward R(s: Step)")
    name = next(iter(spec.rewards)) if reward is None else reward
    if name not in spec.rewards:
        raise UsageError("G72", f"{spec_path} declares no reward {name}", help=did_you_mean(name, spec.rewards))
    return [(param, spec.features[kind]) for param, kind in spec.rewards[name].params]


def _check_options(kind: str, options: ImportOptions) -> None:
    given = {
        "--architecture": options.architecture is not None and kind not in ("safetensors", "folder"),
        "--adapter": bool(options.adapters) and kind != "folder",
        "--output": options.output is not None and kind not in ("folder", "other"),
    }
    for name, wrong in given.items():
        if wrong:
            raise UsageError("G37", f"{name} does not go with {_called(kind)}", help="leave it out")
