"""Installing harms nobody: an Ascend host keeps its torch and torch_npu."""

from __future__ import annotations

import json
import subprocess
import venv
from pathlib import Path

import pytest
from conftest import ROOT


def lines(name: str) -> list[str]:
    text = (ROOT / name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_requirements_for_ascend_never_name_the_pair() -> None:
    names = [line.partition(">")[0].partition("=")[0] for line in lines("requirements-npu.txt")]
    assert not {"torch", "torch_npu", "torch-npu"} & set(names)
    # The rest is what requirements.txt asks for.
    ours = {line for line in lines("requirements.txt") if not line.startswith(("torch", "-c"))}
    assert ours <= set(lines("requirements-npu.txt"))


@pytest.mark.full  # pip takes half a minute for each; .ci/run does it
@pytest.mark.parametrize(("torch", "torchvision"), [("2.9.0", "0.24.0"), ("2.11.0", "0.26.0")])
def test_dry_run_on_an_ascend_host_replaces_nothing(
    tmp_path: Path, torch: str, torchvision: str
) -> None:
    environment = host(tmp_path, {"torch": torch, "torch_npu": torch})
    install = dry_run(environment, "requirements-npu.txt")
    assert "torch" not in install and "torch_npu" not in install
    assert not [name for name in install if name.startswith("nvidia")]
    assert install["torchvision"] == torchvision
    assert "timm" in install and "transformers" in install


@pytest.mark.full  # pip fetches the CUDA build of torch for it, several GB
def test_a_bare_machine_gets_the_newest_tested_torch_and_exactly_the_tested_rest(
    tmp_path: Path,
) -> None:
    install = dry_run(host(tmp_path, {}), "requirements.txt")
    tested = dict(line.lower().split("==") for line in lines("constraints.txt"))
    [newest] = [line.partition("<=")[2] for line in lines("requirements.txt") if "torch>" in line]
    assert install["torch"].partition("+")[0] == newest
    ours = {name: version for name, version in install.items() if name in tested}
    assert {"timm", "transformers", "tokenizers", "safetensors", "huggingface_hub"} <= set(ours)
    assert ours == {name: tested[name] for name in ours}


@pytest.mark.parametrize(
    "requirements",
    ["requirements.txt", pytest.param("requirements-dev.txt", marks=pytest.mark.full)],
)
@pytest.mark.parametrize(
    "packages",
    [
        # pip alone takes the newest torchvision, and the torch that it needs; .ci/run installs it for good
        pytest.param({"torch": "2.13.0"}, marks=pytest.mark.full),
        pytest.param({"torch": "2.9.0+cpu"}, marks=pytest.mark.full),
        pytest.param({"torch": "2.14.0", "torchvision": "0.29.0"}, marks=pytest.mark.full),
    ],
    ids=str,
)
def test_a_torch_within_the_range_stays(
    tmp_path: Path, packages: dict[str, str], requirements: str
) -> None:
    install = dry_run(host(tmp_path, packages), requirements)
    assert not set(packages) & set(install)
    assert "timm" in install


@pytest.mark.full
@pytest.mark.parametrize("version", ["2.8.0", "2.99.0"])
def test_a_torch_outside_the_range_is_replaced_but_not_beside_torch_npu(
    tmp_path: Path, version: str
) -> None:
    assert "torch" in dry_run(host(tmp_path / "alone", {"torch": version}), "requirements.txt")
    pair = host(tmp_path / "pair", {"torch": version, "torch_npu": version})
    process = pip(pair, "requirements.txt", tmp_path / "report.json")
    assert process.returncode != 0 and "torch" in process.stderr


def test_the_files_that_requirements_name_go_with_an_export() -> None:
    from kit.publish.contents import collect

    files, _ = collect("flan_t5_small", [])
    for name in [name for name in files if name.startswith("requirements")]:
        for line in lines(name):
            if line.startswith(("-r ", "-c ")):
                assert line[3:] in files, f"{name}: {line}"
            elif line.startswith("./"):
                assert f"{line[2:]}/pyproject.toml" in files, f"{name}: {line}"


@pytest.mark.full  # pip takes ten seconds
def test_a_bare_machine_is_told_to_take_the_other_file(tmp_path: Path) -> None:
    python = host(tmp_path, {})
    process = pip(python, "requirements-npu.txt", tmp_path / "report.json")
    assert process.returncode != 0
    assert "take requirements.txt" in process.stdout + process.stderr


def host(folder: Path, packages: dict[str, str]) -> Path:
    """A virtual environment whose metadata say that `packages` are installed; its Python."""
    folder.mkdir(exist_ok=True)
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    [site] = (folder / "venv").glob("lib/python*/site-packages")
    for name, version in packages.items():
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        requires = (
            "Requires-Dist: torch==2.9.0\n" if (name, version) == ("torch_npu", "2.9.0") else ""
        )
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
        )
    return folder / "venv" / "bin" / "python"


def pip(python: Path, requirements: str, report: Path) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-m", "pip", "install", "--quiet", "--dry-run", "--report", str(report)]
    return subprocess.run(
        [*command, "-r", requirements], cwd=ROOT, capture_output=True, text=True, timeout=600
    )


def dry_run(python: Path, requirements: str) -> dict[str, str]:
    report = python.parent / "report.json"
    process = pip(python, requirements, report)
    assert process.returncode == 0, process.stderr
    found = json.loads(report.read_text("utf-8"))["install"]
    return {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in found}
