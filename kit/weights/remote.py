"""Weights over the network: the hub that HF_ENDPOINT names, then the mirrors, one host after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

from kit.weights import caches, progress
from kit.weights.caches import HubRepository
from kit.weights.download import fetch
from kit.weights.endpoints import endpoint
from kit.weights.hub import HubClient
from kit.weights.model_files import ModelFiles
from kit.weights.progress import megabytes
from kit.weights.request import Answer, Attempt, Request, attempt
from kit.weights.roots import hf_root
from kit.weights.sharded import check_shard, index_of, read_index
from kit.weights.transport import HubError
from kit.weights.weight_file import DamagedFileError, WeightFile, check_safetensors
from kit.words import Reason

Read = TypeVar("Read")

PICKLE = "pytorch_model.bin"

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
        file = _fetch_weights(client, request)
    except HubError as error:
        failed = attempt(host.source, target, error.outcome, error, started)
        return Answer(attempts=(failed,), downloaded=client.received > 0)
    reason = Reason("received", size=megabytes(client.received), origin=file.hash_origin)
    if client.remark:
        reason = Reason("several", all=[reason, client.remark])
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


def _fetch_weights(client: HubClient, request: Request) -> WeightFile:
    """The model's weights: one file, else the index and every shard that it names, all of one commit.
    Raises HubError, CannotRunError."""
    info = request.info
    published = info.published.get(info.weights)
    sized = partial(request.check_room, name=info.weights)
    try:
        file = fetch(client, info.weights, revision=info.revision, sha256=published, sized=sized)
    except HubError as absent:
        if absent.outcome != "absent":
            raise
        return _fetch_shards(client, request, absent)
    _refuse_damage(file, lambda: check_safetensors(file.path))
    return file


def _fetch_shards(client: HubClient, request: Request, absent: HubError) -> WeightFile:
    """`absent` is what the host said of the single file."""
    info = request.info
    name = index_of(info.weights)
    try:
        commit = client.describe(name, revision=info.revision).commit
    except HubError as error:
        if error.outcome != "absent":
            raise
        raise _pickle_alone(client, info) or absent from error
    file = fetch(client, name, revision=commit, sha256=info.published.get(name))
    index = _refuse_damage(file, lambda: read_index(file.path))
    request.check_room(index.total_bytes or 0, name)
    shards = []
    for shard in index.shards:
        part = fetch(client, shard, revision=commit, sha256=info.published.get(shard))
        _refuse_damage(part, partial(check_shard, part.path, index, shard))
        shards.append(part)
    with suppress(OSError):  # the pin: a later run takes the same commit, without a request
        HubRepository(hf_root(), client.hub_id).set_ref(info.revision, commit)
    return replace(file, shards=tuple(shards))


def _pickle_alone(client: HubClient, info: ModelFiles) -> HubError | None:
    """What to say where the repository has nothing but a pickle, which is asked about, not for."""
    try:
        client.describe(PICKLE, revision=info.revision)
    except HubError:
        return None
    return HubError(
        Reason("pickle_alone", name=PICKLE),
        Reason("convert_pickle", hub_id=info.hub_id),
        outcome="refused",
    )


def _refuse_damage(file: WeightFile, check: Callable[[], Read]) -> Read:
    try:
        return check()
    except DamagedFileError as error:
        why = Reason("damaged_of_host", name=file.name, why=error.reason)
        raise HubError(why, Reason("pass_weights"), outcome="refused") from error


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
            attempts.append(attempt(host.source, target, error.outcome, error, started))
            if not error.answered:
                break
        else:
            attempts.append(attempt(host.source, target, "found", Reason("companion"), started))
    return attempts
