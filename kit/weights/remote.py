"""Weights over the network: the hub that HF_ENDPOINT names, then the mirrors, one host after another."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from kit.weights import caches, progress
from kit.weights.attempts import Answer, Attempt, Request, attempt
from kit.weights.download import fetch
from kit.weights.endpoints import endpoint
from kit.weights.hub import HubClient
from kit.weights.progress import megabytes
from kit.weights.transport import HubError
from kit.weights.wanted import ModelFiles
from kit.weights.weight_file import DamagedFileError, WeightFile, check_safetensors

# Companion files are small: a host that is slow with them must not eat the run's whole deadline.
COMPANION_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host that speaks the hub's protocol, left after `answer_seconds` if it says nothing."""

    source: Literal["hub", "mirror"]
    url: str
    answer_seconds: float

    def client(self, request: Request) -> HubClient:
        """A client of this host under the request's deadline."""
        return HubClient(
            request.info.hub_id,
            self.url,
            answer_seconds=self.answer_seconds,
            deadline=request.deadline,
            log=request.log,
        )


def hosts(mirrors: tuple[str, ...]) -> list[Host]:
    """The hub and the mirrors, in the order of the chain."""
    hub = Host(source="hub", url=endpoint(), answer_seconds=progress.ANSWER_SECONDS)
    seconds = progress.MIRROR_ANSWER_SECONDS
    return [hub, *(Host(source="mirror", url=url, answer_seconds=seconds) for url in mirrors)]


def from_host(host: Host, request: Request) -> Answer:
    """The weights, and after them what is missing of the companions, from one host."""
    started = time.monotonic()
    client = host.client(request)
    target = client.url(request.info.weights, request.info.revision)
    if refusal := request.refusal():
        return Answer(attempts=(attempt(host.source, target, "skipped", refusal, started),))
    try:
        file = _fetch_weights(client, request.info)
    except HubError as error:
        failed = attempt(host.source, target, error.outcome, str(error), started)
        return Answer(attempts=(failed,), downloaded=client.received > 0)
    reason = f"{megabytes(client.received)} received, sha256 {file.hash_origin}"
    if client.remark:
        reason += f"; {client.remark}"
    found = attempt(host.source, target, "found", reason, started)
    return Answer(
        attempts=(found, *_fetch_companions(host, client, request.info)),
        file=file,
        label=caches.label_of("hf-cache", file.path),
        downloaded=client.received > 0,
    )


def fetch_companions(request: Request) -> list[Attempt]:
    """Fetch missing companions for weights that are here already, from whichever host has them."""
    attempts: list[Attempt] = []
    for host in hosts(request.mirrors):
        if request.refusal() is None:
            attempts += _fetch_companions(host, host.client(request), request.info)
    return attempts


def _fetch_weights(client: HubClient, info: ModelFiles) -> WeightFile:
    """The model's weights. Raises HubError."""
    published = info.published.get(info.weights)
    file = fetch(client, info.weights, revision=info.revision, sha256=published)
    try:
        check_safetensors(file.path)
    except DamagedFileError as error:
        raise HubError(
            f"the host's file {error}; pass --weights PATH", outcome="refused"
        ) from error
    return file


def _fetch_companions(host: Host, client: HubClient, info: ModelFiles) -> list[Attempt]:
    """Fetch what is missing beside the weights, until the host stops answering. Never fatal."""
    client.shorten(COMPANION_SECONDS)
    attempts: list[Attempt] = []
    for name in info.companions:
        started = time.monotonic()
        if caches.companion(name, info) is not None:
            continue
        target = client.url(name, info.revision)
        try:
            fetch(client, name, revision=info.revision, sha256=info.published.get(name))
        except HubError as error:
            attempts.append(attempt(host.source, target, error.outcome, str(error), started))
            if not error.answered:
                break
        else:
            attempts.append(attempt(host.source, target, "found", "companion file", started))
    return attempts
