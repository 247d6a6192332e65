"""What the agent asks of the process that it runs in: open files, and when Python looks for garbage."""

import gc
import logging
import resource

log = logging.getLogger("lictor.agent")

YOUNG = 10_000
"""New objects after which the collector looks at them; Python's own 700 is for short programs."""


def raise_open_files() -> int:
    """Raise the soft limit on open files to the hard one, as Go programs do; returns the limit that holds now.

    Every connection takes one, and Linux gives 1,024 by default, for the sake of programs that use select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit on open files stays at %d: %s", soft, error)
        return soft
    return hard


def hurry() -> None:
    """Called before the agent's modules are loaded: until `settle` nothing looks for garbage, as hardly any comes.

    Looking for it took a seventh of the time to start.
    """
    gc.disable()


def settle() -> None:
    """Called once the agent is up: what is here now stays, so the garbage collector need not look at it again.

    A full collection holds the event loop up for as long as it takes to look at every object, modules and functions
    too: with ten thousand connections that were 150 ms, again and again while they came.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
    gc.enable()
