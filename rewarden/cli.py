"""The command line: `rewarden COMMAND …`.

Importing this module loads no more than typer: every command imports what it needs when it runs, so that `rewarden
--help` is instant and `rewarden check-certificate` runs where neither torch nor z3 was ever loaded.
Results go to stdout; errors, notes and progress to stderr. Exit statuses: `rewarden.exits`.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from rewarden import __version__, exits
from rewarden.commands import (
    certificate,
    ci,
    demo,
    fmt,
    history,
    inspect,
    keys,
    learn,
    lineage,
    lsp,
    patch,
    project,
    report,
    spec,
    suggest,
    text,
    unlearn,
    use,
    verify,
    vnnlib,
)
from rewarden.spec_lang.errors import CertificateError, RewardenError

# click's base of "this command line makes no sense", wherever the installed typer keeps click
_ClickException: type[Any] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="rewarden",
    help="Rules for learned rewards: prove them, mend them, sign them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"rewarden {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback for internal errors.")] = False,
) -> None:
    """Rules for learned rewards: prove them, mend them, sign them.

    Exit status: 0 all must rules proved; 1 a must rule violated or vacuous; 2 usage, spec or data error; 3
    inconclusive; 4 certificate rejected; 5 internal error.
    """


for _name, _command in (
    ("demo", demo.demo),
    ("init", project.init),
    ("suggest", suggest.suggest),
    ("check", spec.check),
    ("explain", spec.explain),
    ("fmt", fmt.fmt),
    ("lsp", lsp.lsp),
    ("learn", learn.learn),
    ("import", learn.import_network),
    ("encode", text.encode),
    ("score", use.score),
    ("export", use.export),
    ("inspect", inspect.inspect),
    ("log", lineage.log),
    ("show", history.show),
    ("diff", history.diff),
    ("revert", history.revert),
    ("squash", history.squash),
    ("merge", history.merge),
    ("bake", history.bake),
    ("verify", verify.verify),
    ("falsify", verify.falsify),
    ("ci", ci.ci),
    ("patch", patch.patch),
    ("unlearn", unlearn.unlearn),
    ("vnnlib", vnnlib.vnnlib),
    ("vnnlib-export", vnnlib.vnnlib_export),
    ("vnnlib-replay", vnnlib.vnnlib_replay),
    ("certify", certificate.certify),
    ("check-certificate", certificate.check_certificate),
    ("report", report.report),
    ("sign", keys.sign),
    ("sign-off", keys.sign_off),
):
    app.command(_name)(_command)
app.add_typer(keys.keys, name="keys")


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk, a quota, a file


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name need not be text: what is not is shown escaped
            stream.reconfigure(errors="backslashreplace")
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `rewarden … | head`: the reader has left, which is no error of ours
        _discard()
    except OSError as error:
        status = exits.worst((status, _unwritten(error)))
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit status. Raises nothing but SystemExit on SIGTERM."""
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        status = app(arguments, prog_name="rewarden", standalone_mode=False)
        return status if isinstance(status, int) else exits.PROVED
    except CertificateError as error:
        _say(error.render())
        return exits.REJECTED
    except RewardenError as error:
        _say(error.render())
        return exits.UNUSABLE
    except _ClickException as error:
        # typer's own rendering: the usage line and a "did you mean"
        error.show()
        return exits.UNUSABLE
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted: nothing half-written was left behind")
        return exits.INTERRUPTED
    except BrokenPipeError:
        return exits.PROVED
    except OSError as error:
        return _unwritten(error) if error.errno in FULL and error.filename is None else _internal(error, debug)
    except Exception as error:
        return _internal(error, debug)


def _unwritten(error: OSError) -> int:
    """Said once: what is left in the buffer goes nowhere, so that no later flush fails, too."""
    _discard()
    _say(f"error[G06]: what this command prints cannot be written: {error.strerror}")
    return exits.UNUSABLE


def _discard() -> None:
    """From here on what is printed goes nowhere."""
    with suppress(OSError, ValueError):  # a stream that is no file has no buffer of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    _say(
        f"internal error: {type(error).__name__}: {error}\n"
        "   = help: this is a bug in Rewarden, not in your files: please report it, with the output of the same\n"
        "     command and --debug"
    )
    return exits.INTERNAL


def _say(text: str) -> None:
    """What comes from a stranger's file may hold characters that command a terminal."""
    from rewarden.spec_lang.diagnostics import printable

    print("\n".join(printable(line) for line in text.split("\n")), file=sys.stderr)


def _terminated(_signal: int, _frame: object) -> None:
    # An exception, so that every `finally` runs and no half-written output stays behind.
    raise SystemExit(exits.TERMINATED)


if __name__ == "__main__":
    main()
