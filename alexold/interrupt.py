"""Ctrl-C and SIGTERM between two steps instead of in the middle of one.

with stoppable() as stop:
    for step in steps:
        ...
        if stop.asked:
            save()
            stop.leave("stopped at this step")
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Stop:
    """Whether a signal has asked for an end; a second one is no longer waited for and ends at once."""

    def __init__(self):
        self.signal = None

    @property
    def asked(self) -> bool:
        return self.signal is not None

    def __call__(self, number: int, frame) -> None:
        self.signal = number
        self.hand_back()

    def hand_back(self) -> None:
        for number, handler in DEFAULTS.items():
            if signal.getsignal(number) is self:
                signal.signal(number, handler)

    def leave(self, *said: str) -> None:
        """Raise what the signal stands for: KeyboardInterrupt(*said) for SIGINT, SystemExit(143) for SIGTERM."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt(*said)


@contextmanager
def stoppable(here: bool = True) -> Iterator[Stop]:
    """Inside, the first SIGINT or SIGTERM only sets `asked`.

    A signal keeps what it does where somebody else handles or ignores it, in threads other than the main one, and
    where it shall not wait (`here` is False).
    """
    stop = Stop()
    if here and threading.current_thread() is threading.main_thread():
        for number, handler in DEFAULTS.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, stop)
    try:
        yield stop
    finally:
        stop.hand_back()
    if stop.asked:  # too late for the last look at it
        stop.leave()


@contextmanager
def unseen() -> Iterator[None]:
    """Processes that are started inside never see Ctrl-C (where the system allows it): it is for their parent."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
