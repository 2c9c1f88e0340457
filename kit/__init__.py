"""The library beneath inference.py and compare_accuracy.py: one room a question (see README's map).

Every entry point imports it first, so an older Python ends here, with one line. This file,
kit/machine/interrupts.py and the scripts themselves must stay readable for Python 3.6: no newer syntax, no
`from __future__`.
"""

import os
import sys

__version__ = "0.1.0"
OLDEST_PYTHON = (3, 11)

if sys.version_info < OLDEST_PYTHON:
    sys.stderr.write(
        f"error: this needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer, and {sys.executable} is "
        f"{sys.version.split()[0]}: make the virtual environment with a newer one\n"
    )
    sys.exit(3)


def _open_closed_streams() -> None:
    """Let the descriptors 0, 1 and 2 that whoever started this process has closed lead nowhere: the next
    files opened would take their numbers, and what libraries print would land in the evidence."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


_open_closed_streams()
