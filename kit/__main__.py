"""The kit's further commands: python -m kit COMMAND ...; each lives in a module of its own."""

import kit.machine.interrupts  # noqa: F401, I001  (first: Ctrl-C ends what follows)

import argparse
import importlib
from importlib.util import find_spec

from kit.entry import Parser, run_script

# Each module has main(arguments), which returns the exit code or raises KitError; only the one that
# was asked for is imported. A published repository has fewer of them.
_ALL = {
    "doctor": ("kit.doctor", "look at this machine: what works, what does not, and the cure"),
    "predict": ("kit.explain.predict", "the errors to expect on an NPU, without one"),
    "judge": ("kit.evidence.judge", "judge two saved sets of outputs, without a model"),
    "diff": ("kit.evidence.diff", "what differs between two runs"),
    "report": ("kit.report.command", "write the report of a run again"),
    "export": ("kit.publish", "write the repository that publishes one model and its run"),
    "new": ("kit.weights.new", "write a model's folder under models/, to be edited"),
    "fetch": ("kit.weights.fetch", "download a model's files, resumable and verified"),
    "probe": ("kit.explain.probe", "what a device computes with, by crafted inputs"),
    "lint-report": ("kit.lint", "what is blank, contradictory or unsupported in a report"),
}
COMMANDS = {name: command for name, command in _ALL.items() if find_spec(command[0])}


def main() -> int:
    """Hand the arguments to the command. Returns the exit code; raises KitError."""
    parser = Parser(
        prog="python -m kit",
        description="Commands beside inference.py and compare_accuracy.py; exit codes as theirs.",
        epilog="\n".join(f"  {name:12}{what}" for name, (_, what) in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="COMMAND --help lists them")
    options = parser.parse_args()
    module, _ = COMMANDS[options.command]
    code: int = importlib.import_module(module).main(options.arguments)
    return code


if __name__ == "__main__":
    run_script(main)
