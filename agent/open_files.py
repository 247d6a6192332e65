"""How many files (and so connections) this process may have open."""

import logging
import resource

log = logging.getLogger("lictor.agent")


def raise_limit() -> int:
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
