"""Weights through ModelScope's own SDK, where it is installed: the last source of the chain.

The SDK runs in a child process, not in a thread: its retries cannot be interrupted from outside and
would go on writing after the deadline, and what it imports and prints stays out of the run. What it
downloaded is then taken from its cache like any other local copy: only with the published hash.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kit.errors import Fault
from kit.weights import caches, progress
from kit.weights.endpoints import is_address, shown
from kit.weights.local import local_copy
from kit.weights.progress import Deadline, TransientError
from kit.weights.request import Answer, Request, attempt
from kit.weights.transport import Exchange, HubError
from kit.words import Reason

_CHILD = Path(__file__).with_name("modelscope_child.py")


class _SdkError(Fault):
    """The SDK gave no file."""


def from_sdk(request: Request) -> Answer:
    """The weights and their companions from ModelScope, whose 'master' is the hub's 'main'."""
    started = time.monotonic()
    target = f"{shown(_endpoint())}/models/{request.info.hub_id}"
    refusal = request.refusal()
    if refusal is None and importlib.util.find_spec("modelscope") is None:
        refusal = Fault(Reason("no_sdk"), Reason("install_sdk"))
    if refusal:
        return Answer(attempts=(attempt("modelscope", target, "skipped", refusal, started),))
    try:
        _check_answers(request.deadline)
        _run_sdk(request)
    except _SdkError as error:
        failed = attempt("modelscope", target, "failed", error, started)
        return Answer(attempts=(failed,))
    answer = local_copy("modelscope-cache", request)
    last = answer.attempts[-1]
    tried = attempt("modelscope", target, last.outcome, Fault(last.reason, last.cure), started)
    return replace(answer, attempts=(tried,), downloaded=True)


def _endpoint() -> str:
    """Where the SDK will ask; MODELSCOPE_DOMAIN may be a bare host name."""
    named = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN")
    address = (named or "modelscope.cn").rstrip("/")
    return address if "://" in address else f"https://{address}"


def _check_answers(deadline: Deadline) -> None:
    """Raise _SdkError where the host says nothing: the SDK itself would wait for minutes."""
    if not is_address(_endpoint()):
        raise _SdkError(Reason("no_modelscope_endpoint"), Reason("correct_or_unset"))
    question = urllib.request.Request(shown(_endpoint()), method="HEAD")
    try:
        with Exchange(question) as exchange:
            exchange.head(min(progress.MODELSCOPE_ANSWER_SECONDS, deadline.left()))
    except (TransientError, HubError) as error:
        raise _SdkError(error.reason, Reason("pass_weights")) from error


def _run_sdk(request: Request) -> None:
    """Return when the SDK has downloaded the files. Raises _SdkError, at the deadline at the latest."""
    # -P: no module of the kit's folder or of the working directory passes for one of the SDK's.
    command = [sys.executable, "-P", str(_CHILD), request.info.hub_id]
    command += [request.info.weights, *request.info.companions]
    # Its progress bars are for a terminal only.
    errors = None if sys.stderr.isatty() else subprocess.DEVNULL
    with (
        _held_pipe() as pipe,
        subprocess.Popen(
            command, stdin=pipe, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as child,
    ):
        try:
            said = _wait(child, request)
        finally:
            child.kill()
    if child.returncode != 0:
        # A foreign text may name folders and addresses: nothing with a slash goes into a record.
        reason = re.sub(r"\S*[/\\]\S*", "...", said.strip().rpartition("\n")[2])[:200]
        raise _SdkError(Reason("sdk_failed", said=reason), Reason("pass_weights"))


def _wait(child: subprocess.Popen[str], request: Request) -> str:
    """What the child printed by its end. Raises _SdkError at the deadline, and before it on a stall."""
    line, stall = Deadline(progress.LINE_SECONDS), Deadline(progress.STALL_SECONDS)
    count = caches.modelscope_bytes(request.info)
    while True:
        pause = min(request.deadline.left(), progress.STALL_SECONDS / 10)
        try:
            return child.communicate(timeout=pause)[0]
        except subprocess.TimeoutExpired as error:
            loaded = bool(error.output)  # always None on Windows: there the deadline alone counts
        if request.deadline.left() <= 0:
            raise _SdkError(
                Reason("sdk_deadline", seconds=request.deadline.seconds),
                Reason("raise_timeout_or", cure=Reason("pass_weights")),
            )
        before, count = count, caches.modelscope_bytes(request.info)
        if count != before or not loaded:
            stall = Deadline(progress.STALL_SECONDS)
        if stall.left() <= 0:
            raise _SdkError(
                Reason("sdk_stalled", seconds=stall.seconds),
                Reason("go_on"),
            )
        if line.left() <= 0:
            line = Deadline(progress.LINE_SECONDS)
            request.log(f"ModelScope's SDK is at work, {request.deadline.left():.0f} s are left")


@contextmanager
def _held_pipe() -> Iterator[int]:
    """A pipe that nobody writes to; its reader sees the end when this process ends, however it does."""
    reader, writer = os.pipe()
    try:
        yield reader
    finally:
        os.close(reader)
        os.close(writer)
