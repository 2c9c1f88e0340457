"""Every figure of measure() against an independent slow formula, by both kernels."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet
from conftest import ROOT
from mpmath import mp
from slow_metrics import EPS, check, near, slow_ranking, squares, values

from kit.accuracy import walk
from kit.accuracy.metrics import measure

pytestmark = pytest.mark.filterwarnings("error")

NEVER = 1 << 62


KERNELS = ("torch", "compiled")


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either kernel, in blocks so small that even these tensors take several."""
    use(monkeypatch, request.param)
    return request.param


def use(monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    monkeypatch.setattr(walk, "_LARGE", 0 if kernel == "compiled" else NEVER)
    monkeypatch.setattr(walk, "_COMPILED_BLOCK", 24)
    monkeypatch.setattr(walk, "_BLOCK", 16)


REAL = "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2".split()
WHOLE = "int8 int16 int32 int64 uint8 bool".split()
DTYPES = [(name, name) for name in (*REAL, *WHOLE, "complex64", "complex128")]
DTYPES += [("float64", "float32"), ("float32", "bfloat16"), ("int64", "float32")]
KINDS = "normal offset outliers huge denormal zeros equal far broken disagreeing".split()
SHAPES = [(), (1,), (1, 1), (40,), (2, 3), (3, 17), (5, 1, 7), (3, 2, 2, 4)]
LAYOUTS = "contiguous transposed sliced expanded leading".split()


def pair(kind: str, names: tuple[str, str], shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Two tensors as an adaptation has them: one, and the same with some error."""
    info = torch.finfo(getattr(torch, names[1])) if names[1] in REAL else torch.finfo(torch.float32)
    random = torch.randn(2, *shape, dtype=torch.float64)
    base, noise = random[0], random[1] * 10 ** -torch.randint(1, 9, ()).double()
    if kind == "offset":
        base = 50 + base / 10
    elif kind == "outliers":
        base = torch.where(torch.rand(shape) < 0.1, base * 1e4, base / 10)
    elif kind == "huge":
        base = base.sign() * 10 ** ((torch.rand(shape).double() * 1.98 - 1) * math.log10(info.max))
    elif kind == "denormal":
        base *= info.smallest_normal / 10
    elif kind == "zeros":
        base = torch.where(torch.rand(shape) < 0.7, 0.0, base)
    elif names[0] in WHOLE:
        base *= 40
    sides = [base, base * (1 + noise)]
    if kind == "equal":
        sides[1] = base.clone()
    elif kind == "far":
        sides[1] = random[1] * 1e3
    for side in sides if kind in ("broken", "disagreeing") and names[0] not in WHOLE else ():
        if kind == "disagreeing":
            torch.manual_seed(int(side is sides[1]))
        dice = torch.randint(0, 12, shape)
        dice = dice if kind == "disagreeing" else (base * 100).long() % 12
        for number, value in enumerate((math.nan, math.inf, -math.inf)):
            side[dice == number] = value
    return [cast(side, name) for side, name in zip(sides, names, strict=True)]


def cast(side: torch.Tensor, name: str) -> torch.Tensor:
    dtype = getattr(torch, name)
    if name == "bool":
        return side > 0
    if name in WHOLE:
        least, most = torch.iinfo(dtype).min, torch.iinfo(dtype).max
        side = side.nan_to_num().clamp(float(least), float(most) * (1 - 2**-50))
        return side.to(dtype)
    if name.startswith("complex"):
        part = torch.float32 if name == "complex64" else torch.float64
        return torch.complex(side.to(part), side.flip(0).to(part) if side.dim() else side.to(part))
    return side.to(dtype)


def laid_out(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    """The same values (expanded: the first of each row) in other strides."""
    if not tensor.dim() or layout == "contiguous":
        return tensor
    if layout == "transposed":
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "sliced":
        return torch.stack([tensor, torch.zeros_like(tensor)], -1).flatten(-2)[..., ::2]
    if layout == "expanded":
        return tensor[..., :1].expand(tensor.shape)
    return torch.stack([tensor, torch.zeros_like(tensor)], 1)[:, 0]


def by_kernel() -> list[ParameterSet]:
    """Of the compiled kernel, in fp32: the same loops take a quarter of a minute to compile for fp64."""
    single = {*REAL[1:], "int8", "int16", "uint8", "bool", "complex64"}
    return [
        pytest.param(
            kernel,
            names,
            id=f"{kernel}-{'-'.join(names)}",
            marks=pytest.mark.full if kernel == "compiled" and not single >= {*names} else (),
        )
        for kernel in KERNELS
        for names in DTYPES
    ]


@pytest.mark.parametrize(("kernel", "names"), by_kernel(), indirect=["kernel"])
@pytest.mark.parametrize(
    "eighth", [0, *(pytest.param(each, marks=pytest.mark.full) for each in range(1, 8))]
)
def test_every_figure(kernel: str, names: tuple[str, str], eighth: int) -> None:
    """The eighths change places from dtype to dtype, so that every kind and shape is in each."""
    products = list(enumerate(itertools.product(KINDS, SHAPES)))
    for seed, (kind, shape) in products[(eighth + DTYPES.index(names)) % 8 :: 8]:
        torch.manual_seed(seed)
        sides = pair(kind, names, shape)
        layouts = [LAYOUTS[seed % 5], LAYOUTS[seed // 5 % 5]]
        laid = [laid_out(side, layout) for side, layout in zip(sides, layouts, strict=True)]
        check(*laid, measure(*laid, threads=2), f"{seed} {kind} {shape} {layouts}")


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        *itertools.product(["normal", "ties", "masked", "broken", "lost"], [1, 2, 4, 5, 40]),
        ("ties", 300),  # more than a compiled look decides to pass over
        ("broken", 300),
    ],
)
def test_ranking(kernel: str, kind: str, classes: int) -> None:
    torch.manual_seed(classes)
    reference = torch.randn(12 if classes < 300 else 6, classes)
    device = reference + torch.randn(*reference.shape) * 0.3
    if kind == "ties":
        reference, device = reference.round(), device.round()
    for side in (reference, device):
        side[3, classes // 2 :] = {"masked": -math.inf, "broken": math.inf}.get(kind, 1.0)
    if kind == "lost":
        reference[5, -1] = device[5, 0] = math.nan
    found = measure(reference.T.contiguous().T, device, ranked=True, threads=2)
    check(reference, device, found)
    assert found.ranking is not None
    with mp.workdps(40):
        expected = slow_ranking(reference, device)
    disputed = [(r.row, r.reference_top1, r.device_top1) for r in found.ranking.disputed]
    assert disputed == expected.pop("disputed")[: len(disputed)]
    assert len(disputed) >= min(16, found.ranking.rows - found.ranking.top1_agree)
    near(found.ranking.softmax_max_diff, expected.pop("softmax_max_diff"), 1e-14, "softmax")
    for name, value in expected.items():
        assert getattr(found.ranking, name) == value, name


def test_a_dispute_between_masked_rows_can_be_excused() -> None:
    row = torch.cat([torch.full((10,), -math.inf), torch.zeros(990)])
    row[20], row[21] = 1.0, 1.0 - 1e-6
    device = row + torch.linspace(-1e-5, 1e-5, 1000)
    device[20], device[21] = row[21], row[20]
    for lost, excused in ((-math.inf, True), (0.0, False), (math.inf, False), (math.nan, False)):
        device[0] = lost
        ranking = measure(row[None], device[None], ranked=True).ranking
        assert ranking is not None
        [dispute] = ranking.disputed
        assert dispute.excused == excused
        if excused:
            assert dispute.margin == float(row[20]) - float(row[21])
            both = list(zip(values(row), values(device), strict=True))
            mean = sum(b - a for a, b in both[10:]) / 990
            there = sorted(abs(b - a - mean) for a, b in both[10:20] + both[22:])
            near(dispute.noise_p99, there[math.ceil(0.99 * len(there)) - 1], 1e-18, "noise")
            error = squares(b - a - mean for a, b in both[10:])
            norm = squares(a - sum(a for a, _ in both[10:]) / 990 for a, _ in both[10:])
            near(dispute.row_relative_l2, float(mp.sqrt(error / norm)), EPS, "row")


@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize("error", [1e-6, 1e-3, 1.0])
def test_probabilities_of_long_rows(
    monkeypatch: pytest.MonkeyPatch, error: float, offset: float
) -> None:
    """Rows of several pieces, of which the first rarely holds the largest difference: some rows are
    confident, the errors of some classes are far beyond the rest, and later rows have larger ones."""
    torch.manual_seed(1)
    reference = torch.randn(6, 5000) * torch.tensor([0.1, 1, 3, 3, 10, 30])[:, None]
    noise = torch.randn(6, 5000) * error * torch.tensor([0.1, 0.2, 1, 2, 3, 9])[:, None]
    noise[2, 4096:] *= 100
    noise[4, 3000] = 40 * error
    device = reference + noise + offset
    powers = [side.double().softmax(-1) for side in (reference, device)]
    expected = float((powers[1] - powers[0]).abs().max())
    for sides in (reference, device), (reference.flip(0), device.flip(0)):
        use(monkeypatch, "compiled")
        found = measure(*sides, ranked=True).ranking
        assert found is not None and found.softmax_max_diff is not None
        assert found.softmax_max_diff == pytest.approx(expected, rel=1e-12 / error, abs=1e-15)
        use(monkeypatch, "torch")
        other = measure(*sides, ranked=True).ranking
        assert other is not None and found.explained == pytest.approx(other.explained, rel=1e-9)
        assert found.top5_agree == other.top5_agree and found.disputed == other.disputed


def test_changed_loops_have_machine_code_of_their_own(tmp_path: Path) -> None:
    """numba would go on with what it compiled of a function whose own file is as before."""
    ask = "from kit.accuracy.compiled.options import _FOLDER; print(_FOLDER)"
    folders = []
    for name in ("before", "after"):
        shutil.copytree(ROOT / "kit", tmp_path / name / "kit")
        if name == "after":
            with (tmp_path / name / "kit" / "accuracy" / "totals.py").open("a") as file:
                file.write("CLOSE = CLOSE[::-1]\n")
        command = [sys.executable, "-c", ask]
        result = subprocess.run(
            command, cwd=tmp_path / name, capture_output=True, text=True, check=True
        )
        folders.append(result.stdout)
    assert folders[0] != folders[1]


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("broken", [False, True])
def test_threads_change_nothing(
    monkeypatch: pytest.MonkeyPatch, ranked: bool, broken: bool
) -> None:
    """Neither the walk's nor torch's own, which sum a large block in another order."""
    monkeypatch.setattr(walk, "_LARGE", 1)
    reference = torch.randn(6, 150_000)
    device = reference + torch.randn(6, 150_000) * 0.01
    if broken:
        reference[::2, 0] = math.nan
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        one, three = (measure(reference, device, ranked=ranked, threads=n) for n in (1, 3))
    finally:
        torch.set_num_threads(before)
    assert one == three


def test_numba_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sides = [torch.randn(9, 50), torch.randn(9, 50)]
    use(monkeypatch, "torch")
    expected = measure(*sides, ranked=True)
    use(monkeypatch, "compiled")
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in [name for name in sys.modules if name.startswith("kit.accuracy.compiled")]:
        monkeypatch.delitem(sys.modules, name)
    assert measure(*sides, ranked=True) == expected
    assert "kit.accuracy.compiled" not in sys.modules


@pytest.mark.parametrize(
    "kernel", ["torch", pytest.param("compiled", marks=pytest.mark.full)], indirect=True
)
def test_far_apart_norms_and_lazy_views(kernel: str) -> None:
    torch.manual_seed(0)
    base, other = torch.randn(2, 100, dtype=torch.float64)
    for scale in (1e20, 1e100, 1e-100):
        check(base, other * scale, measure(base, other * scale))
        check(base, base * scale, measure(base, base * scale))
    most = torch.tensor([1.7e308, 1.7e308, 1.0], dtype=torch.float64)
    check(most, -most, measure(most, -most))
    lazy = torch.complex(base, other).conj()
    check(lazy, lazy + 0.1, measure(lazy, lazy + 0.1))
    check(lazy.imag, base, measure(lazy.imag, base, ranked=True))


@pytest.mark.parametrize("shapes", [((0,), (0,)), ((2, 0), (2, 0)), ((2,), (2, 1)), ((), (1,))])
def test_nothing_to_compare(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="do not compare"):
        measure(*map(torch.zeros, shapes))


MEMORY = """
import sys, threading
from pathlib import Path
from safetensors import safe_open
from kit.accuracy import walk
from kit.accuracy.metrics import measure

def anonymous():
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in x]
    return int(line.split()[1]) / 1024

def watch():
    while not over.wait(0.005):
        peak.append(anonymous())

sides = [safe_open(path, "pt").get_tensor("x") for path in sys.argv[1:]]
large, walk._LARGE = walk._LARGE, 0
measure(*(side[:64, :64] for side in sides), threads=2)  # loads numba
walk._LARGE = large
for pair in sides, [side.T for side in sides]:
    over, peak, before = threading.Event(), [], anonymous()
    thread = threading.Thread(target=watch)
    thread.start()
    found = measure(*pair, threads=2)
    over.set(), thread.join()
    print(max(peak) - before, found.elements, *found.max_abs_index)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.full
def test_memory_does_not_grow_with_size(tmp_path: Path) -> None:
    """Two mapped files of 256 MiB, sparse but for the last row, read along and across."""
    rows, columns = 8192, 8200  # a stride of 32 KiB would be the cache's worst
    layout = {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, 4 * rows * columns]}
    header = json.dumps({"x": layout}).encode()
    for number in range(2):
        last = (torch.arange(columns) + number * (torch.arange(columns) == 7)).float().numpy()
        with (tmp_path / str(number)).open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + 4 * rows * columns)
            file.seek(-4 * columns, 2)
            file.write(last)
    command = [sys.executable, "-c", MEMORY, tmp_path / "0", tmp_path / "1"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for line, index in zip(result.stdout.splitlines(), ([8191, 7], [7, 8191]), strict=True):
        grown, *figures = line.split()
        assert float(grown) < 128, (
            line
        )  # MiB: two threads, each with blocks of 8 MiB a side in fp64
        assert list(map(int, figures)) == [rows * columns, *index]
