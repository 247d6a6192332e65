"""The entry point of `lictor`. Nothing but the standard library's smallest is imported before signals are in order."""

import os
import signal
import sys


def main() -> int:
    """Run the command that the words of the process name; returns the exit code."""
    # Python would turn an interrupt during its imports into a traceback.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from agent.cli.run import run

    signal.signal(signal.SIGINT, interrupt)
    for stream in (sys.stdout, sys.stderr):
        # Names and values come from anywhere, and an 8-bit locale must not break them.
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    try:
        if "COMP_LINE" in os.environ:
            from agent.cli.completion import answer

            code = answer(sys.argv[1:])
        else:
            code = run(sys.argv[1:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has had enough; what is still in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        # End as a program does that knows nothing of signals, so that a script around us sees it and ends, too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        return 130


if __name__ == "__main__":
    sys.exit(main())
