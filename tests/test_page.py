"""report.html and plots/, in a real browser: for both models, in every state that the scripts leave."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, SMALL, T5, Finished, Kit

from kit.documented import written as to_json
from kit.evidence.documents import read_summary
from kit.evidence.logs import Logs
from kit.evidence.reading import Evidence, read_evidence
from kit.evidence.schema import parse
from kit.evidence.types.run import Run
from kit.evidence.types.summary import Summary
from kit.report.page import write_page
from kit.words import Texts, catalogue

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MODELS = {"vit": SMALL, "t5": T5}
SECTIONS = (
    "claim lead conclusion errors charts golden top5 latency noise readings results proof precision "
    "weights fallback attempts model hardware software install command logs score explanation metrics "
    "hashes"
).split()
State = Callable[[str], Path]


@pytest.fixture(scope="session")
def state(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> State:
    """The logs of a run, such as vit-pass: left by the scripts, each made once."""
    made: dict[str, Path] = {}

    def kit_of(name: str, like: str | None = None) -> Kit:
        kit = Kit(tmp_path_factory.mktemp(name), simulated="cpu" not in name)
        if like is not None:
            shutil.copytree(make(like), kit.logs)
        made[name] = kit.logs
        return kit

    def make(name: str) -> Path:
        if name in made:
            return made[name]
        model, _, wanted = name.partition("-")
        if wanted == "interrupted":
            interrupt(kit_of(name), *MODELS[model])
        elif wanted == "fail":
            fail(kit_of(name, f"{model}-pass"))
        else:
            run = finished(
                MODELS[model][1], simulated=wanted != "cpu", compared=wanted != "not_compared"
            )
            made[name] = run.logs
        return made[name]

    return make


def interrupt(kit: Kit, *arguments: str) -> None:
    process = kit.popen("inference.py", *arguments)
    while not (kit.logs / "run.json").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert kit.summary["status"] == "INTERRUPTED"


def fail(kit: Kit) -> None:
    """A device whose outputs are off by a third, judged again."""
    from safetensors.torch import load_file, save_file

    from kit.storage.fingerprint import describe_tensors

    path, record = kit.logs / "outputs.safetensors", kit.record
    tensors = {
        name: tensor * 1.3 if tensor.is_floating_point() else tensor
        for name, tensor in load_file(path).items()
    }
    save_file(tensors, path)
    record["outputs"] = to_json(describe_tensors(tensors))
    (kit.logs / "run.json").write_text(json.dumps(record))
    assert kit.compare("--rejudge").code == 1


@pytest.fixture
def copy_of(state: State, tmp_path: Path) -> State:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(state(name), tmp_path / name))

    return copy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no browser to look at the page with: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


class Seen:
    """The page in a browser, and whatever went wrong with it."""

    def __init__(self, browser: Browser, folder: Path, width: int = 1280) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": 900})
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto((folder / "report.html").as_uri())

    def count(self, selector: str) -> int:
        return self.page.locator(selector).count()

    def colours(self) -> list[str]:
        """Of the page, its title, and the first text and shape of a plot."""
        script = """() => {
            const read = (selector, which) => [...document.querySelectorAll(selector)].slice(0, 1)
                .map(each => getComputedStyle(each)[which]);
            return [...read("html", "backgroundColor"), ...read("h1", "color"),
                    ...read("svg text", "fill"), ...read("svg [id$=-points] circle", "fill")];
        }"""
        found: list[str] = self.page.evaluate(script)
        return found

    def overflow(self) -> int:
        script = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
        found: int = self.page.evaluate(script)
        return found


def write(folder: Path, language: Any = "zh") -> str:
    write_page(Logs(folder), read_evidence(folder), language)
    return (folder / "report.html").read_text("utf-8")


STATES = [
    "vit-pass",
    *(pytest.param(left, marks=pytest.mark.full)
      for left in ("vit-interrupted", "t5-pass", "vit-cpu", "vit-not_compared", "vit-fail",
                   "t5-interrupted", "t5-not_compared", "t5-fail", "t5-cpu")),
]  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_page_in_a_browser(copy_of: State, browser: Browser, name: str) -> None:
    folder = copy_of(name)
    plain = "interrupted" in name  # nothing is drawn of it
    for language, width in (("zh", 1280), ("en", 390)):
        write(folder, language)
        seen = Seen(browser, folder, width)
        assert seen.overflow() <= 0
        assert [seen.count(f"#{section}") for section in SECTIONS] == [1] * len(SECTIONS)
        seen.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert seen.overflow() <= 0
        check_counts(seen, folder)
        light = seen.colours()
        seen.page.emulate_media(color_scheme="dark")
        assert not set(light) & set(seen.colours()) and len(light) == (2 if plain else 4)
        assert seen.page.pdf()[:5] == b"%PDF-"
        assert seen.wrong == []
        assert seen.requests == [(folder / "report.html").as_uri()]
        seen.page.close()


def check_counts(seen: Seen, folder: Path) -> None:
    """Every datum is drawn once, and every plot has words and numbers beside it."""
    path = folder / "charts.json"
    charts = json.loads(path.read_text()) if path.exists() else {"outputs": {}, "top5": None}
    for name, drawn in charts["outputs"].items():
        assert seen.count(f"#difference-{name}-points circle") == len(drawn["index"]) > 0
        assert seen.count(f"[id^=error-{name}-bar-]") == len(drawn["counts"])
        for kind in ("error", "difference"):
            assert seen.count(f"#{kind}-{name}-own path") == (drawn["own"] is not None)
        assert seen.count(f"#strip-{name}-cells path") == (drawn["strip"] is not None)
    if charts["top5"]:
        for side in ("reference", "device"):
            drawn = len(charts["top5"]["classes"])
            assert seen.count(f"[id^=top5-{charts['top5']['output']}-{side}-]") == drawn
    latency = json.loads((folder / "summary.json").read_text())["latency"]
    assert seen.count("#latency-points circle") == (len(latency["samples_ms"]) if latency else 0)
    plots = seen.count("svg")
    assert plots == len(list((folder / "plots").glob("*.svg"))) == seen.count("svg > title")
    assert seen.count("svg[role=img][aria-label]") == plots == seen.count("figure:has(svg) table")
    ids = seen.page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))


def test_hostile_text_stays_text(copy_of: State, browser: Browser) -> None:
    """Names and labels that are markup, in a record from elsewhere."""
    folder = copy_of("vit-pass")
    evil = "</text></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'$\\frac{1}$"
    charts, summary = (
        json.loads((folder / f"{n}.json").read_text()) for n in ("charts", "summary")
    )
    record = json.loads((folder / "run.json").read_text())
    for each in charts["top5"]["classes"]:
        each["label"] = evil
    for document in (charts, summary, summary["reference"], record):
        document["outputs"][evil] = document["outputs"].pop("features")
    summary |= {"model": evil, "device_name": evil, "input": evil, "primary_output": evil}
    summary["weights"]["attempts"][0]["reason"] = evil
    summary["submission_blockers"].append(evil)
    (folder / "charts.json").write_text(json.dumps(charts))
    # Past read_evidence(), which would find that the two contradict each other or the adapter.
    write_page(Logs(folder), Evidence(run=parse(Run, record), summary=parse(Summary, summary)))
    seen = Seen(browser, folder)
    assert seen.count("script, img") == 0 and seen.wrong == []
    assert seen.page.locator("h1").inner_text() == evil
    assert seen.count("svg") == len(list((folder / "plots").glob("*.svg"))) == 7
    assert all(re.fullmatch(r"[\w-]+\.svg", path.name) for path in folder.glob("plots/*"))
    assert evil in seen.page.locator("#top5").text_content()


def test_rendering_again_gives_the_same_bytes(copy_of: State) -> None:
    folder = copy_of("vit-pass")
    found = []
    again = "write_page(Logs(folder), read_evidence(folder), 'zh')"
    for render in (partial(write, folder), partial(python, again, folder, "2")):
        render()
        names = [folder / "report.html", *sorted((folder / "plots").iterdir())]
        found.append({path.name: path.read_bytes() for path in names})
    assert found[0] == found[1]
    assert len(found[0]) == 8


@pytest.mark.full  # test_house.py holds that nothing of report imports torch
def test_the_page_needs_no_large_library(copy_of: State) -> None:
    """Drawing is most of a report: a library that only plots takes longer than all the rest."""
    python(
        "write_page(Logs(folder), read_evidence(folder)); "
        "assert not {'torch', 'matplotlib'} & set(sys.modules)",
        copy_of("vit-pass"),
    )


def python(code: str, folder: Path, seed: str = "0") -> None:
    start = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; "
        "from kit.evidence.logs import Logs; from kit.report.page import write_page; "
        f"from kit.evidence.reading import read_evidence; folder = Path({str(folder)!r}); "
    )
    environment = {"PYTHONHASHSEED": seed, "HOME": str(folder)}
    subprocess.run([sys.executable, "-c", start + code], check=True, env=environment)


def test_charts_of_another_comparison_are_not_shown(copy_of: State) -> None:
    folder = copy_of("vit-pass")
    path = folder / "charts.json"
    charts = json.loads(path.read_text())
    say = Texts("zh")
    charts["outputs"]["logits"]["counts"][0] += 1
    for text, reason in (
        (json.dumps(charts), "of_another_run"),
        (path.read_text().replace(charts["outputs"]["logits"]["device_sha256"], "0" * 64),
         "of_another_run"),
        ("{}", "damaged"),
        (None, "absent"),
    ):  # fmt: skip
        path.unlink()
        if text is not None:
            path.write_text(text)
        page = write(folder)
        assert (
            say(f"charts.{reason}") in page
            and 'id="difference-' not in page
            and 'id="latency"' in page
        )
        assert not list(folder.glob("plots/difference-*"))
        path.write_text("")


def test_a_run_without_a_readable_record_has_a_page(vit_run: Kit) -> None:
    (vit_run.logs / "run.json").write_text("{")
    assert vit_run.compare().code == 4
    logs = Logs(vit_run.logs)
    write_page(logs, Evidence(run=None, summary=read_summary(logs)), "en")
    page = (vit_run.logs / "report.html").read_text("utf-8")
    assert "INVALID: the evidence cannot be trusted" in page
    assert "not measured (the record cannot be read" in page


def test_what_was_not_measured_says_so(copy_of: State) -> None:
    page = write(copy_of("vit-not_compared"))
    assert "未测量(尚未运行 compare_accuracy.py)" in page
    assert "未测量(设备是模拟的)" in page
    assert "None" not in re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.S)


def test_every_text_is_there_and_used() -> None:
    """A text whose name is put together from a value is used where all of its section may be."""
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "kit" / "report").glob("*.py"))
    named = set(re.findall(r'"(\w+)\.(\w+)"', code))
    whole = {"outcome", "place", "weights", "suffix", "side", "verdict", "brief", "origin", "plot",
             "alt", "charts", "null", "spread", "arithmetic", "reason", "drawn"}  # fmt: skip
    words = {*re.findall(r"\w+", code), "channel"}  # of a strip
    for section, texts in catalogue().items():
        for name in () if section in whole else texts:
            short = re.sub(r"_(tensor|ms)$", "", name)
            assert (section, name) in named or words & {name, short}, (section, name)
    for section, name in re.findall(r'say\("(\w+)\.(\w+)"', code):
        assert name in catalogue()[section], name
