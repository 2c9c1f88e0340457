"""Look at this machine: can models run here, on which device, and if not, what to do about it.

Each line is ok, warning or broken, the latter two with the cure. Exit code 0 unless something is broken
(a machine without an NPU is a warning: everything runs on its CPU), else 3. No wait is longer than 4 s
(KIT_PROBE_SECONDS gives a device more); torch and the devices are tried in a child process, which may
hang or be aborted.

    python -m kit doctor
    python -m kit doctor --json --offline
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial

from kit.devices import probe_seconds
from kit.doctor import host, packages
from kit.doctor.check import Check, worst
from kit.doctor.child import devices_and_torch
from kit.doctor.network import hub
from kit.entry import parser_of
from kit.machine.background import in_background
from kit.weights.progress import Deadline

# For what has no bound of its own, such as a look at a network disk; the others are done sooner.
_SECONDS = 6.0

log = logging.getLogger("kit")


def main(arguments: Sequence[str]) -> int:
    """Check everything at once, and tell. Returns 0, or 3 where something is broken."""
    options = _parse(arguments)
    checks = list(_examine(options.offline))
    verdict = worst(checks)
    if options.json:
        document = {"verdict": verdict, "checks": [asdict(check) for check in checks]}
        log.info(json.dumps(document, indent=2, allow_nan=False))
    else:
        _tell(checks)
        log.info(f"verdict {verdict}")
    return 3 if verdict == "broken" else 0


def _examine(offline: bool) -> Iterator[Check]:
    """All checks in the order of the table, each in a thread of its own."""
    probe_seconds()  # a wrong one is the user's error, not the machine's
    deadline = Deadline(_SECONDS)
    facts = host.look()
    tasks: dict[str, Callable[[], Iterator[Check]]] = {
        "system": partial(host.system, facts),
        "Python": partial(host.python, facts),
        "torch, torch_npu": partial(packages.torch_pair, facts),
        "version row": partial(packages.versions_row, facts),
        "CANN": partial(host.cann, facts),
        "driver": partial(host.driver, facts),
        "npu-smi": partial(host.npu_smi, facts),
        "devices": devices_and_torch,
        "libraries": partial(packages.libraries, facts),
        "variables": packages.variables,
        "memory": partial(host.memory, facts),
        "disk": partial(host.disk, facts),
        "hub": partial(hub, offline),
    }
    if facts.torch is None:
        del tasks["devices"]
    futures = {name: in_background(partial(_listed, task)) for name, task in tasks.items()}
    for name, future in futures.items():
        try:
            # The child's end is bounded by itself.
            yield from future.result(None if name == "devices" else deadline.left())
        except TimeoutError:
            yield Check(
                name, "broken", "no answer: a file system or a driver hangs", "look at both"
            )
        except Exception as error:  # a check that fails is a finding about the machine as well
            found = f"{type(error).__name__}: {error}"
            yield Check(name, "broken", found, "this check failed: see to what it names")


def _listed(task: Callable[[], Iterator[Check]]) -> list[Check]:
    return list(task())


def _tell(checks: Sequence[Check]) -> None:
    """A line a check, the cure below it, aligned."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        head = f"{check.state:8} {check.name:{width}}  "
        log.info(head + check.found)
        if check.cure is not None:
            log.info(f"{'':{len(head)}}-> {check.cure}")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(__doc__, prog="python -m kit doctor")
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    parser.add_argument("--offline", action="store_true", help="make no network request")
    return parser.parse_args(arguments)
