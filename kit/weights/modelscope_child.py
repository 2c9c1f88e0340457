"""The process in which ModelScope's SDK runs: MODEL_ID FILE... (see modelscope.py).

Prints a line when the SDK is loaded, which takes a while where it brings torch. Ends with 0, or with
1 and the reason as the last line. Imports nothing of the kit.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading


def main() -> int:
    """Download the files of the model into ModelScope's cache."""
    model_id, *names = sys.argv[1:]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        download = importlib.import_module("modelscope").snapshot_download
        print("crashed", flush=True)  # the reason, if this stays the last line
        download(model_id, revision="master", allow_patterns=names)
    except Exception as error:  # whatever it is, the run has to hear of it
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return 1
    return 0


def _end_with_parent() -> None:
    """Leave when the other end of stdin closes: the run was killed."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
