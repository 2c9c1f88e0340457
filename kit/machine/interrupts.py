"""Ctrl-C and SIGTERM end the process within a moment, wherever they land. Imported before all else.

Python's own way, an exception at an arbitrary instruction, is lost wherever exceptions are ignored: in
import callbacks, in __del__, in threads. So nothing unwinds here. Whatever the kit writes is whole at every
moment, as for a process that is killed, and children that hold a pipe of ours end with it.

The handler runs between two instructions of the main thread. Where that is in a long call of a library, a
thread that waits for the signal's number ends the process instead.
"""

import os
import select
import signal
import threading
from collections.abc import Callable, Sequence

INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_when_interrupted() -> None:
    """Have SIGINT and SIGTERM print `interrupted` and end the process with exit code 130.

    In the main thread only. A signal that is ignored stays so: a shell starts what runs in its background
    with SIGINT ignored.
    """
    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    stderr = _copy_of_stderr()
    leaving = threading.Lock()  # both threads may have seen the signal: one of them speaks

    def leave(*_: object) -> None:
        if leaving.acquire(blocking=False):
            _say_interrupted(stderr)
            os._exit(INTERRUPTED)

    if os.name == "posix":
        _watch(heeded, leave)
        _keep_from_children()
    for number in heeded:
        signal.signal(number, leave)


def _watch(heeded: "Sequence[int]", leave: "Callable[[int], None]") -> None:
    """Call leave(number) in a thread of its own for every heeded signal; Python writes them to a pipe."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def wait() -> None:
        while True:
            number = os.read(reader, 1)[0]
            if number in heeded:
                leave(number)

    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=wait, daemon=True).start()


def _keep_from_children() -> None:
    """Let signals do in a forked child what they do by default, from its first moment on.

    They are held back meanwhile: in the child they would reach this process's pipe, or be lost between two
    handlers.
    """
    masks = []

    def before() -> None:
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS))

    def in_parent() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop())

    def in_child() -> None:
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        in_parent()

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)


def _copy_of_stderr() -> int:
    """Later descriptor 2 may lead elsewhere: into a file while fallbacks are watched."""
    try:
        return os.dup(2)
    except OSError:
        return -1


def _say_interrupted(stderr: int) -> None:
    """Write past all of Python's locks, which the interrupted code may hold; never wait for a reader."""
    try:
        if hasattr(select, "poll"):
            ready = select.poll()
            ready.register(stderr, select.POLLOUT)
            if not ready.poll(0):
                return
        bar = b"\n" if os.isatty(stderr) else b""  # a progress bar may stand on the line
        os.write(stderr, bar + b"interrupted\n")
    except (OSError, OverflowError):
        pass


if threading.current_thread() is threading.main_thread():
    end_when_interrupted()
