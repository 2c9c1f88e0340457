"""What is between a run and the hub: tokens, proxies, redirects. The one at fault is named, no other."""

from __future__ import annotations

import re

import pytest
from conftest import Kit, Result
from loopback_hub import Fault, LoopbackHub
from loopback_proxy import LoopbackProxy
from tiny_hub import FILES, WEIGHTS

TINY = "org/tiny"
SMALL = ("--model", "vit_tiny_patch16_224", "--device", "cpu", "--warmup", 0, "--iterations", 1)
STALE = "hf_StaleStaleStale"
# Nobody answers there; the name is never looked up.
BEHIND = "http://hub.example"


def fetched(kit: Kit) -> bool:
    return bool(list((kit.scratch / "home").rglob(f"snapshots/*/{WEIGHTS}")))


def fetch(kit: Kit, *arguments: object, **environment: str) -> Result:
    result = kit.command("fetch", TINY, "--download-timeout", 20, *arguments, **environment)
    for secret in (STALE, "s3cret"):
        assert secret not in result.out + result.err
    return result


# ---- the token ---------------------------------------------------------------------------------


def test_a_stale_token_does_not_cost_a_public_model(kit: Kit) -> None:
    with LoopbackHub(FILES, token="hf_other", public=True) as hub:
        result = fetch(kit, HF_ENDPOINT=hub.url, HF_TOKEN=STALE)
        sent = [request.authorization for request in hub.requests]
    assert result.code == 0, result.err
    assert fetched(kit) and "the token of HF_TOKEN was refused (127.0.0.1" in result.out
    assert sent[0] == f"Bearer {STALE}" and set(sent[1:]) == {None}


def test_a_stale_token_is_on_record_as_what_it_is(kit: Kit) -> None:
    """The hub's bytes are not the published ones, so the weights are random; the token is not why."""
    from test_weights_faults import VIT_COMMIT, VIT_FILES

    with LoopbackHub(VIT_FILES, commit=VIT_COMMIT, token="hf_other", public=True) as hub:
        result = kit.infer(*SMALL, HF_ENDPOINT=hub.url, HF_TOKEN=STALE)
    assert result.code == 0
    assert "the token of HF_TOKEN was refused" in result.out
    reason = kit.record["weights"]["fallback_reason"]
    assert "offers other bytes" in reason and "set HF_TOKEN" not in reason


def test_a_stale_token_on_a_private_model_is_named(kit: Kit) -> None:
    with LoopbackHub(FILES, token="hf_other") as hub:
        result = fetch(kit, HF_ENDPOINT=hub.url, HUGGING_FACE_HUB_TOKEN=STALE)
    assert result.code == 3
    assert "the token of HUGGING_FACE_HUB_TOKEN was refused" in result.error
    assert "set HF_TOKEN anew" in result.error


@pytest.mark.parametrize(
    "token", ["hf_a b", "hf_\u00e9", "Bearer hf_x", "hf_\x1b[1m", "\u200bhf_x"]
)
def test_a_token_with_characters_that_no_token_has_is_not_sent(kit: Kit, token: str) -> None:
    with LoopbackHub(FILES, token="hf_other", public=True) as hub:
        result = fetch(kit, HF_ENDPOINT=hub.url, HF_TOKEN=token)
        assert {request.authorization for request in hub.requests} == {None}
    assert result.code == 0, result.err
    assert "the token of HF_TOKEN holds characters that no token has" in result.out
    assert token not in result.out + result.err


def test_a_wrong_password_in_the_endpoint_is_no_missing_token(kit: Kit) -> None:
    with LoopbackHub(FILES, token="hf_other") as hub:
        result = fetch(kit, HF_ENDPOINT=hub.url.replace("//", "//me:s3cret@"), HF_TOKEN=STALE)
    assert result.code == 3 and "the user and password in its address" in result.error
    assert "HF_TOKEN" not in result.error


# ---- the hub's own words -----------------------------------------------------------------------


def test_the_hubs_own_message_is_passed_on(kit: Kit) -> None:
    words = "Access to model org/tiny is restricted\t\x1b[31m to staff. " + "x" * 500
    fault = Fault(status=403, fields={"X-Error-Code": "GatedRepo", "X-Error-Message": words})
    with LoopbackHub(FILES, faults=(fault,)) as hub:
        result = fetch(kit, HF_ENDPOINT=hub.url)
    assert (
        'GatedRepo "Access to model org/tiny is restricted \\x1b[31m to staff. xxx' in result.error
    )
    assert "\x1b" not in result.err + result.out and "x" * 200 not in result.error


def test_a_message_that_repeats_the_token_is_dropped(kit: Kit) -> None:
    fault = Fault(status=404, fields={"X-Error-Message": f"no model for {STALE}"})
    with LoopbackHub(FILES, faults=(fault,)) as hub:
        assert "HTTP 404" in fetch(kit, HF_ENDPOINT=hub.url, HF_TOKEN=STALE).error


# ---- proxies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_a_proxy_is_used_whichever_variable_names_it(kit: Kit, variable: str) -> None:
    with LoopbackHub(FILES) as hub, LoopbackProxy(to=hub.url) as proxy:
        result = fetch(kit, HF_ENDPOINT=BEHIND, **{variable: proxy.url})
        assert proxy.asked and all(url.startswith(BEHIND) for url in proxy.asked)
    assert result.code == 0, result.err
    assert fetched(kit)


def test_a_host_of_no_proxy_is_asked_without_it(kit: Kit) -> None:
    with LoopbackHub(FILES) as hub, LoopbackProxy(status=502) as proxy:
        result = fetch(kit, HF_ENDPOINT=hub.url, ALL_PROXY=proxy.url, NO_PROXY="127.0.0.1")
        assert proxy.asked == []
    assert result.code == 0, result.err


PROXIES = {
    "refuses": ("http://me:s3cret@127.0.0.1:9", "http", r"Connection refused"),
    "refuses a tunnel": ("me:s3cret@127.0.0.1:9", "https", r"Connection refused"),
    "wants a password": (407, "https", r"407"),
    "wants a password, no tunnel": (407, "http", r"HTTP 407"),
    "forbids": (403, "https", r"403"),
    "has no way": (502, "http", r"HTTP 502"),
    "SOCKS": ("socks5h://me:s3cret@127.0.0.1:1080", "https", r"no HTTP proxy"),
    "SOCKS, plain": ("socks5://127.0.0.1:1080", "http", r"no HTTP proxy"),
    "no port": ("http://me:s3cret@127.0.0.1:port", "http", r"no sound HTTP|cannot be asked"),
    "a slash in the password": (
        "http://me:s3cret/@127.0.0.1:9",
        "http",
        r"refused|cannot be asked",
    ),
}


SLOW = (
    *("wants a password", "forbids", "no port", "SOCKS, plain"),
    *("wants a password, no tunnel", "has no way"),
)  # or of a kind with another


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.full if n in SLOW else ()) for n in PROXIES]
)
def test_every_failure_through_a_proxy_names_it_and_its_variable(kit: Kit, name: str) -> None:
    how, scheme, words = PROXIES[name]
    variable = f"{scheme.upper()}_PROXY" if "tunnel" in name else "ALL_PROXY"
    with LoopbackProxy(status=how if isinstance(how, int) else None) as proxy:
        address = proxy.url if isinstance(how, int) else str(how)
        result = fetch(kit, HF_ENDPOINT=f"{scheme}://hub.example", **{variable: address})
    assert result.code == 3
    assert re.search(words, result.error)
    host = re.sub(r"^(\w+://)?.*@", r"\1", address)
    assert f"(through the proxy {host} of {variable})" in result.error
    assert f"correct or unset {variable}" in result.error and "hf-mirror" not in result.error


def test_doctor_names_the_proxy(kit: Kit) -> None:
    result = kit.command("doctor", HF_ENDPOINT=BEHIND, ALL_PROXY="http://me:s3cret@127.0.0.1:9")
    assert "through the proxy http://127.0.0.1:9 of ALL_PROXY" in result.out
    assert "-> correct or unset ALL_PROXY" in result.out and "s3cret" not in result.out


def test_a_run_says_why_it_is_random_behind_a_proxy(kit: Kit) -> None:
    result = kit.infer(*SMALL, HF_ENDPOINT=BEHIND, ALL_PROXY="socks5://me:s3cret@127.0.0.1:1080")
    assert result.code == 0
    reason = kit.record["weights"]["fallback_reason"]
    assert "the proxy socks5://127.0.0.1:1080 of ALL_PROXY" in reason and "s3cret" not in reason


# ---- redirects ---------------------------------------------------------------------------------


def test_only_what_the_other_host_needs_goes_along_a_redirect(kit: Kit) -> None:
    with LoopbackHub(FILES, storage=True, token=STALE) as hub:
        assert fetch(kit, HF_ENDPOINT=hub.url, HF_TOKEN=STALE).code == 0
        [seen] = [request for request in hub.requests if request.on_storage]
    # Host and Connection are HTTP's own.
    assert {*seen.names} <= {"host", "connection", "accept-encoding", "user-agent", "range"}


@pytest.mark.parametrize(
    "inside",
    [
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
    ],
)
def test_no_redirect_leads_from_a_public_host_into_the_own_network(kit: Kit, inside: str) -> None:
    """The hub has a public name here: the proxy before it knows it."""
    away = Fault(
        file=WEIGHTS, methods=("GET",), status=302, fields={"Location": f"http://{inside}/secret"}
    )
    with LoopbackHub(FILES, faults=(away,)) as hub, LoopbackProxy(to=hub.url) as proxy:
        result = fetch(kit, HF_ENDPOINT=BEHIND, HTTP_PROXY=proxy.url, NO_PROXY="nowhere")
        assert not [url for url in proxy.asked if "secret" in url]
    assert result.code == 3
    assert "a private address, which is not followed" in result.error


def test_a_storage_host_that_refuses_is_no_missing_token(kit: Kit) -> None:
    with LoopbackHub(FILES, storage=True) as hub:
        away = f"{hub.storage_url}/{TINY}/resolve/main/{WEIGHTS}"
        hub.faults = (
            Fault(file=WEIGHTS, methods=("GET",), times=1, status=302, fields={"Location": away}),
            Fault(file=WEIGHTS, methods=("GET",), status=403),
        )
        result = fetch(kit, HF_ENDPOINT=hub.url)
    assert result.code == 3
    assert "clock" in result.error and "HF_TOKEN" not in result.error


# ---- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mirror",
    [
        "http://host/?token=s3cret",
        "http://host/?token=a@s3cret",
        "http://me:s3?cret@host",
        "http://me:s3/cret@host",
        "http://me:s3cret@host?x",
        "host#s3cret",
    ],
)
def test_a_mirrors_query_and_password_are_never_printed(kit: Kit, mirror: str) -> None:
    runs = (
        kit.infer("--mirror", mirror),
        kit.infer(KIT_MIRRORS=mirror),
        kit.command("fetch", TINY, "--mirror", mirror),
    )
    for result in runs:
        assert result.code == 2, result.err
        assert not re.search("s3|cret", result.out + result.err)
        assert "is no http(s) address" in result.error
