"""Whether the hub, or a mirror that the user named, answers."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

from kit.doctor.check import Check
from kit.errors import UsageError
from kit.weights.endpoints import endpoint, is_address, mirror_list, offline_by_environment, shown
from kit.weights.progress import Deadline, TransientError
from kit.weights.transport import Exchange, HubError
from kit.words import Reason

ANSWER_SECONDS = 4.0
# A proxy that asks for a password, or a gateway without the host behind it, is no hub.
_NO_HUB = (407, 502, 503, 504)


def hub(offline: bool) -> Iterator[Check]:
    """Ask all of them at once, without credentials, and wait for one bound."""
    forbidden = "--offline" if offline else offline_by_environment()
    if forbidden:
        yield Check("hub", "ok", f"not asked: {forbidden} is set")
        return
    if not is_address(endpoint()):
        cure = "set HF_ENDPOINT to an address like https://hf-mirror.com"
        yield Check("hub", "broken", "HF_ENDPOINT is no http(s) address", cure)
        return
    try:
        hosts = [shown(url) for url in (endpoint(), *mirror_list())]
    except UsageError as error:
        yield Check("hub", "broken", error.what, error.cure)
        return
    answered, silent, cure = _ask(hosts)
    if answered:
        yield Check("hub", "ok", "; ".join([f"{', '.join(answered)} answers", *silent]))
    else:
        yield Check("hub", "warning", "; ".join(silent), cure)


def _ask(hosts: list[str]) -> tuple[list[str], list[str], str]:
    """The hosts that answer, of each other one why it does not, and what to do about the first of those."""
    answered, silent, cures = [], [], []
    deadline = Deadline(ANSWER_SECONDS)
    with ExitStack() as stack:
        asked = [
            (host, stack.enter_context(Exchange(urllib.request.Request(host, method="HEAD"))))
            for host in hosts
        ]
        for host, exchange in asked:
            try:
                head = exchange.head(max(deadline.left(), 0.01))
            except (TransientError, HubError) as error:
                silent.append(error.what)
                cures.append(error.cure or Reason("take_mirror"))
            else:
                if head.status not in _NO_HUB:
                    answered.append(host)
                    continue
                silent.append(f"{head.who} answers {head.status}")
                cures.append(head.cure)
    return answered, silent, (cures or [Reason("take_mirror")])[0]
