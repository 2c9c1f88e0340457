"""A parent that has imported the libraries and the kit, and forks: most of a script's start is importing.

What it forks is a process of its own, with the environment, working directory, descriptors, signals,
search path and end of a Python that was started the usual way; only the libraries are there already, and
the kit's modules where the script is of this checkout. tests/starting.py is its client, and starts cold
where an environment changes more than what is read after the fork.

    python tests/fork_server.py LISTENER    (the descriptor of a listening SOCK_SEQPACKET socket)

A request is one JSON message {"argv", "env", "cwd", "hidden"} with the child's descriptors 0, 1 and 2
(SCM_RIGHTS). The answers are the child's pid and, when it has ended, its exit code, negative for a signal.
The server ends with its standard input.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = (
    "timm.data",
    "safetensors.torch",
    "tokenizers",
    "jinja2",
    "msgspec",
    "filelock",
    "huggingface_hub.repocard_data",
)
# The first installs its handlers when it is imported; the rest is imported only where a library is there.
OF_THE_PROCESS = ("kit.machine.interrupts", "kit.__main__", "kit.accuracy.compiled")
LARGEST_REQUEST = 100_000
MODULES: dict[str, list[str]] = {}
"""The modules that are imported here, by package: a child would touch all that it looks through."""
CACHED: list[Any] = []
"""What transformers asks of its environment once."""


def main() -> None:
    """Serve until standard input ends."""
    libraries = [entry for entry in sys.path if entry and Path(entry) != Path(__file__).parent]
    declarations = import_libraries()  # noqa: F841  (they last as long as the name)
    listener = socket.socket(fileno=int(sys.argv[1]))
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # pytest's Ctrl-C: the standard input ends after it
    children: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as ready:
        for source in (0, listener, woken):
            ready.register(source, selectors.EVENT_READ)
        while True:
            sources = [key.fileobj for key, _ in ready.select()]
            if 0 in sources:
                return
            if woken in sources:
                woken.recv(4096)
                report_ends(children)
            if listener in sources:
                client, _ = listener.accept()
                message, descriptors, _, _ = socket.recv_fds(client, LARGEST_REQUEST, 3)
                if not message:
                    continue
                if (pid := os.fork()) == 0:
                    break
                children[pid] = client
                for descriptor in descriptors:
                    os.close(descriptor)
                client.send(str(pid).encode())
    for held in (listener, woken, waker, client, *children.values()):
        held.close()
    become(json.loads(message), descriptors, libraries)


def import_libraries() -> object:
    """Import what the scripts import. Returns the declarations of torchvision's operators, which end with
    this value."""
    sys.path.insert(0, str(ROOT))
    import kit
    from kit.models.families.torchvision_ops import declare_missing_ops, without_torchvision

    declarations = declare_missing_ops()
    with without_torchvision():
        import transformers

        for name in ("T5ForConditionalGeneration", "AutoConfig", "GenerationConfig"):
            getattr(transformers, name)
    for name in LIBRARIES:
        with suppress(ImportError):  # what is optional
            importlib.import_module(name)
    for module in pkgutil.walk_packages(kit.__path__, "kit."):
        if not module.name.startswith(OF_THE_PROCESS):
            with suppress(ImportError):  # of a library that is optional
                importlib.import_module(module.name)
    forget([name for name in sys.modules if name.startswith(OF_THE_PROCESS)])
    prepare()
    del sys.path[0]
    leave_alone()
    return declarations


def leave_alone() -> None:
    """Have a child touch little of what lies here: each page that it writes to, if only to count one more
    reference, is copied for it first, and that is most of what a short script costs."""
    for name in sys.modules:
        MODULES.setdefault(name.partition(".")[0], []).append(name)
    import_utils = vars(sys.modules["transformers.utils.import_utils"])
    CACHED.extend(value for value in import_utils.values() if hasattr(value, "cache_clear"))
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        finalizer.atexit = False  # such as torch's, which take its operators apart one by one
    importlib.invalidate_caches()
    sys.path_importer_cache.clear()
    gc.collect()
    gc.freeze()


def prepare() -> None:
    """What every script works out once: the words, the page's template, the documents' decoders, and
    which files of the kit an export takes."""
    from kit.evidence.schema import TYPES, parse
    from kit.words import catalogue

    catalogue()
    for kind in TYPES.values():
        with suppress(ValueError):  # of what is no document, after the decoder was made
            parse(kind, {})
    with suppress(ImportError):  # jinja2 is optional
        from kit.report.page import template

        template()
    with suppress(
        ImportError
    ):  # a repository has none, and would have it if its whole name stood here
        importlib.import_module(".publish.contents", "kit").collect("vit_tiny_patch16_224", ())


def forget(names: list[str]) -> None:
    """Have these modules imported anew."""
    for name in names:
        sys.modules.pop(name, None)


def report_ends(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with children.pop(pid) as client, suppress(OSError):  # nobody waits for it any more
            client.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(request: dict[str, Any], descriptors: list[int], libraries: list[str]) -> None:
    """What a new Python does between its start and its first line; then run the script."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    streams = ("stdin", "r"), ("stdout", "w"), ("stderr", "w")
    for target, (descriptor, (name, mode)) in enumerate(zip(descriptors, streams, strict=True)):
        os.dup2(descriptor, target)
        os.close(descriptor)
        old: TextIOWrapper = getattr(sys, name)
        stream = open(target, mode, encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        if name == "stderr":
            stream.reconfigure(line_buffering=True)
        setattr(sys, name, stream)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    read_the_environment_again()
    for name in request["hidden"]:
        forget(MODULES.get(name, []))
        sys.modules[name] = None  # type: ignore[assignment]  # what import takes for "not there"
    sys.path[:] = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *libraries]
    end(run, request["argv"])


def read_the_environment_again() -> None:
    """What the libraries read when they were imported."""
    importlib.reload(sys.modules["huggingface_hub.constants"])
    for function in CACHED:
        function.cache_clear()


def run(argv: list[str]) -> None:
    """Run `-m MODULE ...`, `-c CODE ...` or `SCRIPT ...` as __main__."""
    folder = Path.cwd() if argv[0] in ("-m", "-c") else Path(argv[0]).resolve().parent
    if folder != ROOT:  # which has a kit of its own, or none
        for package in ("kit", "models"):
            forget(MODULES.get(package, []))
    sys.path.insert(0, "" if argv[0] == "-c" else str(folder))
    if argv[0] == "-m":
        sys.argv[:] = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    elif argv[0] == "-c":
        sys.argv[:] = ["-c", *argv[2:]]
        exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv[:] = argv
        runpy.run_path(argv[0], run_name="__main__")


def end(script: Callable[[list[str]], None], argv: list[str]) -> NoReturn:
    """Run the script and end the process as Python does, but for taking every module apart: that takes
    longer than most scripts, and what the parent imported would only be freed once more."""
    code = 0
    try:
        script(argv)
    except SystemExit as error:
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
        code = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
