"""One line, in place of a traceback, where a package is missing without which no script can be imported.

Imported before all that imports the package.
"""

import sys

try:
    import msgspec  # noqa: F401
except ImportError as error:
    from kit.machine.cures import as_kit_error

    known = as_kit_error(error)
    sys.stderr.write(f"error: {known}\n")
    sys.exit(known.exit_code)
