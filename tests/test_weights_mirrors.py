"""Hosts after the hub: mirrors of --mirror and KIT_MIRRORS. ModelScope's are in another file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Kit
from loopback_hub import Fault, LoopbackHub
from tiny_hub import (
    DATA,
    FILES,
    WEIGHTS,
    assert_sound,
    fetch,
    info,
    shorten_waits,
    use_empty_caches,
)

from kit.errors import UsageError
from kit.weights.endpoints import mirror_list
from kit.weights.sources import Located

GET = ("GET",)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shorten_waits(monkeypatch)
    return use_empty_caches(monkeypatch, tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """The endpoint; a test gives it its faults."""
    with LoopbackHub(FILES) as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        yield started


@pytest.fixture
def mirror() -> Iterator[LoopbackHub]:
    with LoopbackHub(FILES) as started:
        yield started


def network_outcomes(located: Located) -> list[tuple[str, str]]:
    return [(a.source, a.outcome) for a in located.attempts if "cache" not in a.source]


FAULTS = {
    "503": Fault(status=503),
    "404": Fault(status=404),
    "gated": Fault(status=401),
    "hung": Fault(hang=True),
    "other-bytes": Fault(fields={"ETag": f'"{"d" * 64}"'}),
    "flipped": Fault(methods=GET, flip_at=900_000),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_mirror_is_asked_after_the_hub(
    name: str, hub: LoopbackHub, mirror: LoopbackHub, cache: Path
) -> None:
    hub.faults = (FAULTS[name],)
    located = fetch(mirrors=(mirror.url,))
    assert located.file is not None and located.file.path.read_bytes() == DATA
    assert [source for source, _ in network_outcomes(located)] == ["hub", "mirror"]
    assert located.attempts[-1].outcome == "found"
    assert located.attempts[-1].target.startswith(mirror.url)
    assert located.file.hash_origin == "published" and located.pretrained_used is True
    assert_sound(cache)


def test_a_mirror_is_not_asked_where_the_hub_has_the_file(
    hub: LoopbackHub, mirror: LoopbackHub
) -> None:
    assert network_outcomes(fetch(mirrors=(mirror.url,))) == [("hub", "found")]
    assert mirror.requests == []


@pytest.mark.parametrize("etag", [None, '"0123456789abcdef"'])
def test_a_mirror_goes_on_at_the_byte_where_the_hub_stopped(
    etag: str | None, hub: LoopbackHub, mirror: LoopbackHub
) -> None:
    hub.faults = (Fault(methods=GET, file=WEIGHTS, reset_at=700_001),)
    mirror.faults = (Fault(fields={"ETag": etag} if etag else {}),)
    located = fetch(mirrors=(mirror.url,))
    assert located.file is not None and located.file.path.read_bytes() == DATA
    assert [get.range for get in mirror.gets(WEIGHTS)] == ["bytes=700001-"]
    assert mirror.sent(WEIGHTS) == len(DATA) - 700_001


def test_every_mirror_has_its_turn_within_the_one_deadline(
    hub: LoopbackHub, mirror: LoopbackHub
) -> None:
    hub.faults = (Fault(hang=True),)
    mirror.faults = (Fault(methods=GET, file=WEIGHTS, bytes_per_second=10_000),)
    with LoopbackHub(FILES) as unreached:
        located = fetch(mirrors=(mirror.url, unreached.url), timeout=3)
        assert unreached.requests == []
    assert network_outcomes(located)[:3] == [
        ("hub", "failed"),
        ("mirror", "failed"),
        ("mirror", "skipped"),
    ]
    assert "the deadline of 3 s ended" in located.attempts[-1].reason
    assert sum(attempt.seconds for attempt in located.attempts) <= 3 + 3


def test_offline_asks_no_mirror(hub: LoopbackHub, mirror: LoopbackHub) -> None:
    located = fetch(mirrors=(mirror.url,), offline=True)
    assert network_outcomes(located) == [
        ("hub", "skipped"),
        ("mirror", "skipped"),
        ("modelscope", "skipped"),
    ]
    assert hub.requests == mirror.requests == []


def test_the_token_goes_to_a_mirror_only_where_it_is_the_endpoints_host(
    hub: LoopbackHub, mirror: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.faults = (Fault(status=404, times=1),)
    located = fetch(mirrors=(mirror.url,))
    assert {request.authorization for request in hub.requests} == {"Bearer hf_secret"}
    assert {request.authorization for request in mirror.requests} == {None}
    assert "secret" not in repr(located)
    hub.faults = (Fault(status=404, times=1),)
    fetch(mirrors=(f"{hub.url}/proxy",), info=info(hub_id="org/other"))
    assert hub.requests[-1].path.startswith("/proxy/")
    assert hub.requests[-1].authorization == "Bearer hf_secret"


def test_credentials_of_a_mirror_are_used_and_never_recorded(
    hub: LoopbackHub, mirror: LoopbackHub
) -> None:
    hub.faults = (Fault(status=404),)
    lines: list[str] = []
    address = mirror.url.replace("http://", "http://me:s3cret@")
    located = fetch(mirrors=mirror_list([address]), log=lines.append)
    assert located.file is not None
    assert mirror.requests[0].authorization == "Basic bWU6czNjcmV0"
    assert "s3cret" not in repr(located) + repr(lines)


def test_a_mirrors_own_word_for_a_hash_is_not_the_hubs(
    hub: LoopbackHub, mirror: LoopbackHub
) -> None:
    hub.faults = (Fault(status=503),)
    unpublished: dict[str, Any] = {"published": {}}
    located = fetch(mirrors=(mirror.url,), info=info(**unpublished))
    again = fetch(info=info(**unpublished), offline=True)
    for one in (located, again):
        assert one.file is not None and one.file.hash_origin == "computed"
        assert one.pretrained_used is None and one.file.revision is None


def test_a_small_file_must_have_the_git_hash_that_the_hub_gives_it(hub: LoopbackHub) -> None:
    hub.faults = (Fault(methods=GET, file="tokenizer.json", flip_at=3),)
    with_tokenizer = info(companions=("tokenizer.json",))
    located = fetch(info=with_tokenizer)
    assert located.file is not None and located.companions == {}
    assert located.attempts[-1].outcome == "refused"
    hub.faults = ()
    assert list(fetch(info=with_tokenizer, complete=True).companions) == ["tokenizer.json"]


# ---- naming them -------------------------------------------------------------------------------


def test_mirrors_of_the_environment_come_after_the_named_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KIT_MIRRORS", "http://c, http://a/ http://d,,")
    assert mirror_list(["http://a", "http://b/"]) == (
        "http://a",
        "http://b",
        "http://c",
        "http://d",
    )
    monkeypatch.delenv("KIT_MIRRORS")
    assert mirror_list() == ()


BAD = ["hf-mirror.com", "ftp://host", "http://", "http://host?x=1", "", "http://[", "file:///etc"]


@pytest.mark.parametrize("value", BAD)
def test_a_mirror_that_is_no_address_is_wrong_usage(value: str) -> None:
    with pytest.raises(UsageError, match="no http"):
        mirror_list([value])


def test_a_wrong_mirror_ends_a_run_before_it_begins(kit: Kit) -> None:
    result = kit.infer("--mirror", "ftp://me:s3cret@host")
    assert result.code == 2 and "--mirror" in result.error and "s3cret" not in result.error
    result = kit.infer(KIT_MIRRORS="nonsense")
    assert result.code == 2 and "'nonsense' is no http(s) address" in result.error
    assert not kit.logs.exists()


def test_the_record_names_the_mirrors_without_their_credentials(vit_run: Kit) -> None:
    assert vit_run.record["arguments"]["mirrors"] == []
    secret = "http://me:s3cret@127.0.0.1:9/hub/"
    assert vit_run.infer(*SMALL, "--mirror", secret, KIT_MIRRORS="http://127.0.0.1:9").code == 0
    mirrors = vit_run.record["arguments"]["mirrors"]
    assert mirrors == ["http://127.0.0.1:9/hub", "http://127.0.0.1:9"]
    written = [path.read_bytes() for path in vit_run.logs.iterdir() if path.is_file()]
    assert written and not any(b"s3cret" in data for data in written)
