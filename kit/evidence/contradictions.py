"""What a record says twice must be said alike: a summary follows from these claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit.models.adapter import Adapter


def find_contradictions(record: Mapping[str, Any], adapter: Adapter) -> list[str]:
    """Every contradiction in the record of a successful run, each in a few words."""
    return [
        *_about_the_device(record),
        *_about_the_weights(record, adapter),
        *_about_outputs(record),
        *_about_samples(record),
    ]


def _about_the_device(record: Mapping[str, Any]) -> Iterator[str]:
    device, proof = record["device"], record["device_proof"]
    if device["spec"].partition(":")[0] != device["kind"]:
        yield f"device {device['spec']} is called {device['kind']}"
    if device["simulated"] != proof["simulated"]:
        yield "the device is simulated in one place and not in another"
    places = {*proof["parameters"], *proof["buffers"], *proof["outputs"].values()}
    if places != {device["spec"]}:
        yield f"the device is {device['spec']}, the tensors were on {', '.join(sorted(places))}"
    if proof["outputs"].keys() != record["outputs"].keys():
        yield "device_proof is of other outputs"


def _about_the_weights(record: Mapping[str, Any], adapter: Adapter) -> Iterator[str]:
    weights, published = record["weights"], set(adapter.info.published.values())
    files = weights["files"]
    if weights["fallback_used"] is bool(files) or (weights["seed"] is None) is not bool(files):
        yield "weights are random and from a file at once"
    if (weights["weight_path"] is None) is bool(files):
        yield "weight_path does not fit the files"
    if weights["pretrained_used"] is not _pretrained([file["hash_origin"] for file in files]):
        yield "pretrained_used does not follow from the files"
    for file in files:
        if (file["hash_origin"] == "published") is not (file["sha256"] in published):
            yield f"the sha256 of {file['name']} is called {file['hash_origin']}"
    info = adapter.info
    if (weights["parameters"], weights["tensors"]) != (info.parameters, info.tensors):
        yield "the weights are of another size than the model's"
    # A file of unknown origin may hold half precision, which the run cast to what was asked for.
    as_loaded = record["arguments"]["dtype"] == "float32" and all(
        file["hash_origin"] == "published" for file in files
    )
    if as_loaded and record["device_proof"]["weights_fingerprint"] != weights["fingerprint"]:
        yield "the weights on the device are others than the loaded ones"


def _about_outputs(record: Mapping[str, Any]) -> Iterator[str]:
    if missing := record["outputs"].keys() - record["noise"]["device_repeat"].keys():
        yield f"no second run of {', '.join(sorted(missing))}"


def _about_samples(record: Mapping[str, Any]) -> Iterator[str]:
    samples = record["samples"]
    if (samples is None) is not (record["arguments"]["data"] is None):
        yield "samples and --data are not there together"
    elif samples is not None:
        stored = sum(file["samples"] for file in samples["files"])
        if not samples["count"] == stored == len({entry["name"] for entry in samples["inputs"]}):
            yield "the samples are of several counts"


def _pretrained(origins: list[str]) -> bool | None:
    if not origins:
        return False
    return None if "computed" in origins else True
