"""charts.json: how an output's differences are spread, and that it tells of no other comparison."""

from __future__ import annotations

import math
import statistics
from collections import Counter

import pytest
import torch
from conftest import SMALL, Kit
from documents import violation

from kit.accuracy.distribution import CELLS, EVEN, LARGEST, Distribution, distribution


def bins(found: Distribution) -> dict[float, int]:
    """The bins that are not empty, by their lower edge."""
    assert len(found.log10_edges) == len(found.counts) + 1
    pairs = zip(found.log10_edges, found.counts, strict=False)
    return {edge: count for edge, count in pairs if count}


def slowly(reference: torch.Tensor, device: torch.Tensor) -> dict[float, int]:
    differences = [abs(d - r) for r, d in zip(reference.tolist(), device.tolist(), strict=True)]
    keys = Counter(math.floor(math.log10(each) * 4) / 4 for each in differences if each)
    return dict(sorted(keys.items()))


@pytest.mark.parametrize("elements", [1, 999, 1000, 1001, 100_003])
def test_every_element_is_counted_once_and_the_largest_are_drawn(elements: int) -> None:
    torch.manual_seed(elements)
    reference = torch.randn(elements, dtype=torch.float64)
    device = reference + 10 ** (torch.randn(elements, dtype=torch.float64) * 3 - 4)
    device[: elements // 3] = reference[: elements // 3]
    found = distribution(reference, device)
    assert found.zeros == elements // 3
    assert bins(found) == slowly(reference, device)
    assert found.zeros + sum(found.counts) == found.elements == elements
    assert found.index == sorted(set(found.index)) and len(found.index) <= EVEN + LARGEST
    assert len(found.index) == elements or len(found.index) > EVEN
    largest = (device - reference).abs().argsort(descending=True)[:LARGEST].tolist()
    assert set(largest[: elements - elements // 3]) <= set(found.index)
    assert found.reference == reference[found.index].tolist()
    assert found.device == device[found.index].tolist()
    assert distribution(reference, device) == found


def test_points_cover_the_output_and_never_fall_into_step_with_its_rows() -> None:
    reference = torch.zeros(9000, 1000)
    found = distribution(reference, reference + 1)
    parts = Counter(index // 10_000 for index in found.index)
    assert len(parts) == 900  # one in each 900th, and the first of equal differences beside them
    columns = {index % 1000 for index in found.index}
    assert len(columns) > 500


def test_what_is_not_finite_is_apart_and_not_drawn() -> None:
    reference = torch.tensor([1.0, 2.0, math.nan, math.inf, -math.inf, 3.0], dtype=torch.float64)
    device = torch.tensor([1.0, 2.5, 1.0, math.inf, 0.0, math.nan], dtype=torch.float64)
    found = distribution(reference, device)
    assert (found.zeros, found.nonfinite, sum(found.counts)) == (1, 4, 1)
    assert (found.index, found.device) == ([0, 1], [1.0, 2.5])
    overflow = torch.tensor([1.7e308], dtype=torch.float64)
    found = distribution(overflow, -overflow)
    assert (found.nonfinite, found.counts, found.index) == (1, [], [])
    smallest = torch.tensor([5e-324], dtype=torch.float64)
    assert bins(distribution(smallest, smallest * 0)) == {-323.5: 1}


def test_strides_and_dtypes_make_no_difference() -> None:
    torch.manual_seed(0)
    reference = torch.randn(70, 900)
    device = reference + torch.randn(70, 900) * 1e-3
    plain = distribution(reference, device)
    turned = [side.t().contiguous().t() for side in (reference, device)]
    assert distribution(*turned) == plain
    spread = distribution(reference, device.bfloat16())
    assert spread.elements == 63_000 and sum(spread.counts) + spread.zeros == 63_000
    pair = distribution(torch.complex(reference, device), torch.complex(reference, reference))
    assert pair.elements == 126_000 and pair.zeros >= 63_000
    assert distribution(torch.tensor(1.0), torch.tensor(1.5)).index == [0]


@pytest.mark.parametrize(
    ("shape", "of", "count"),
    [((1, 7, 6), "row", 7), ((3, 50, 4, 6), "channel", 50), ((2, 500, 8), "row", 1000),
     ((2, 3, 5, 8), "row", 30), ((3, 100), None, 0), ((100,), None, 0), ((), None, 0)],
)  # fmt: skip
def test_a_strip_shows_where_along_the_output_the_error_is(
    shape: tuple[int, ...], of: str | None, count: int
) -> None:
    torch.manual_seed(0)
    reference = torch.randn(shape, dtype=torch.float64)
    device = reference + torch.randn(shape, dtype=torch.float64) * 1e-5
    if of is None:
        assert distribution(reference, device).strip is None
        return
    parts = reference.transpose(0, 1) if of == "channel" else reference.reshape(count, -1)
    where = device.transpose(0, 1) if of == "channel" else device.view(count, -1)
    where[count // 2] += 0.5
    strip = distribution(reference, device).strip
    assert strip is not None and (strip.of, strip.count) == (of, count)
    found = [float((d - r).norm() / r.norm()) for r, d in zip(parts, where, strict=True)]
    if count <= CELLS:
        assert strip.relative_l2 == pytest.approx(found, rel=1e-5)
    assert len(strip.relative_l2) == min(count, CELLS)
    assert max(each or 0 for each in strip.relative_l2) == pytest.approx(max(found), rel=1e-5)


def test_a_part_without_a_scale_has_no_cell() -> None:
    reference, device = torch.ones(5, 4), torch.full((5, 4), 1.5)
    reference[1] = 0
    device[2, 3] = math.nan
    reference[3] = 1e38
    strip = distribution(reference.double() * 1e120, device.double()).strip
    assert strip is not None and strip.relative_l2 == [1, None, None, None, 1]


def test_charts_are_of_the_comparison_in_hand(vit_run: Kit) -> None:
    assert not (vit_run.logs / "charts.json").exists()
    assert vit_run.compare().code == 0
    charts, summary, record = vit_run.read("charts.json"), vit_run.summary, vit_run.record
    assert violation("charts", charts) is None
    assert set(charts["outputs"]) == {"features", "logits"}
    for name, drawn in charts["outputs"].items():
        assert drawn["device_sha256"] == record["outputs"][name]["sha256"]
        assert drawn["reference_sha256"] == summary["reference"]["outputs"][name]["sha256"]
        metrics = summary["outputs"][name]["metrics"]
        assert drawn["elements"] == metrics["elements"] == len(drawn["index"])
        pairs = zip(drawn["reference"], drawn["device"], strict=True)
        assert max(abs(d - r) for r, d in pairs) == metrics["max_abs_diff"]
        own, errors = drawn["own"], summary["outputs"][name]["truth"]
        assert own["zeros"] + own["nonfinite"] + sum(own["counts"]) == drawn["elements"]
        assert max(map(abs, own["difference"])) == pytest.approx(
            errors["reference"]["max_abs_diff"], rel=1e-5
        )
        assert drawn["strip"] is None  # one row
    classes = charts["top5"]["classes"]
    assert charts["top5"]["output"] == "logits"
    assert [each["reference_rank"] for each in classes[:5]] == [1, 2, 3, 4, 5]
    by_device = {each["index"]: each for each in classes if each["device_rank"] <= 5}
    for place in record["described"]["top5"]:
        assert by_device[place["index"]]["label"] == place["label"] is not None
        assert by_device[place["index"]]["device"] == pytest.approx(place["logit"])

    (vit_run.logs / "charts.json").unlink()
    assert vit_run.compare("--rejudge").code == 0
    assert vit_run.read("charts.json") == charts

    (vit_run.logs / "reference.safetensors").write_bytes(b"")
    assert vit_run.compare("--rejudge").code == 4
    assert not (vit_run.logs / "charts.json").exists()


def test_every_timed_run_is_on_record_and_the_figures_follow_from_it(vit_run: Kit) -> None:
    latency = vit_run.record["latency"]
    samples = latency["samples_ms"]
    assert len(samples) == latency["iterations"] == int(SMALL[-1])
    assert latency["mean_ms"] == pytest.approx(statistics.fmean(samples))
    assert latency["p50_ms"] == pytest.approx(statistics.median(samples))
    assert (latency["min_ms"], latency["max_ms"]) == (min(samples), max(samples))
    assert vit_run.summary["latency"] == latency
