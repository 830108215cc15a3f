"""`rewarden`, and `python -m rewarden`.

Loading the command line takes some tenths of a second, of which nobody wants a traceback: until it is there Ctrl-C ends
the process as the system does, in silence. Nothing has been read or written by then.
"""

from __future__ import annotations

import signal


def main() -> None:
    """The console script."""
    before = signal.getsignal(signal.SIGINT)
    ours = before is signal.default_int_handler  # somebody who starts us may have it ignored
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rewarden.cli import main as run

    if ours:
        signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
