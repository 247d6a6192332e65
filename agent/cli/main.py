"""The entry point of `lictor`. Nothing but the standard library's smallest is imported before signals are in order."""

import os
import signal
import sys

from model.goerrors import go_text


def main() -> int:
    """Run the command that the words of the process name; returns the exit code."""
    # Python would turn an interrupt during its imports into a traceback.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from agent.cli.run import run

    signal.signal(signal.SIGINT, interrupt)
    _prepare_streams()
    try:
        if "COMP_LINE" in os.environ:
            from agent.cli.completion import answer

            code = answer(sys.argv[1:])
        else:
            code = run(sys.argv[1:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has had enough.
        _drop_output()
        return 1
    except OSError as error:
        # The output cannot be written; commands handle what else can fail.
        _drop_output()
        print(f"Error writing to standard output: {go_text(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # End as a program does that knows nothing of signals, so that a script around us sees it and ends, too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        return 130


def _prepare_streams() -> None:
    """Let all three streams exist, and carry any name and value whatever the locale."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # It was closed before we began.
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]


def _drop_output() -> None:
    """What is still in the buffer has nowhere to go; the interpreter would complain about it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
