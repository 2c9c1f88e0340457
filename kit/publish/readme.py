"""The pages of a published repository: the report as README.md, of the kit's own what holds there.

All were written for another place: a section about what a repository does not have stays behind; a link is
set right where its target is in the repository, and becomes plain text where it is not.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial

from kit.evidence.logs import REPORT
from kit.models.adapter import Adapter
from kit.models.known import model_names
from kit.publish.contents import ROOT
from kit.publish.published_run import PublishedRun

# A page of a repository: the kit's page it is made of, and the sections of that which stay behind.
_PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "KIT.md": ("README.md", ("Add a model", "Map")),
    "KIT.zh-CN.md": ("README.zh-CN.md", ("添加模型", "文件地图")),
    "docs/usage.md": ("docs/usage.md", ("Further commands", "Publish")),
    "docs/usage.zh-CN.md": ("docs/usage.zh-CN.md", ("其他命令", "发布")),
    "docs/evidence.md": ("docs/evidence.md", ()),
    "docs/evidence.zh-CN.md": ("docs/evidence.zh-CN.md", ()),
}
_COMMAND = re.compile(r"python -m kit ([\w-]+)")
_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_ATTRIBUTE = re.compile(r'\b(src|href)="([^"#]+)"')

_INSTALL = "python3 -m venv .venv && . .venv/bin/activate && pip install -r"
_COMMANDS = f"""\
```
{_INSTALL} requirements.txt && python inference.py && python compare_accuracy.py
{_INSTALL} requirements-dev.txt && pytest
```

The first line works on any machine, and says on which device it ran; [KIT.md](KIT.md) says how to read
`logs/summary.json` and what to install on an Ascend host, [docs/usage.md](docs/usage.md) has the options.
"""


def front_page(adapter: Adapter, run: PublishedRun, files: Collection[str]) -> bytes:
    """README.md: the run's report; without a run, what there is to say, and the commands."""
    if run.evidence is None:
        text = _without_run(adapter)
    else:
        text = _relink(run.files[f"logs/{REPORT}"].decode("utf-8"), _from_logs(files))
    if run.left_out:
        rows = "\n".join(f"- {name}" for name in run.left_out)
        text += f"\n## Not in this repository\n\nOf the evidence that the run left:\n\n{rows}\n"
    return text.encode("utf-8")


def kit_pages(model: str) -> dict[str, str]:
    """KIT.md and docs/, in both languages, for a repository of `model`."""
    others = [name for name in model_names() if name != model]
    return {
        page: _for_one(model, others, (ROOT / source).read_text("utf-8"), left_out)
        for page, (source, left_out) in _PAGES.items()
    }


def _for_one(model: str, others: list[str], text: str, left_out: tuple[str, ...]) -> str:
    """A page without the sections that are of what this repository does not have, another model's samples
    included; where a command names another model as an example, it names this one."""
    beginning, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    kept, anchors = [_without_models(beginning)], []
    for section in sections:
        title = section.partition("\n")[0].removeprefix("## ")
        if title in left_out or any(f"--model {other} --data" in section for other in others):
            anchors.append(title.lower().replace(" ", "-"))
        else:
            kept.append(section)
    page = "".join(kept).rstrip() + "\n"
    for anchor in anchors:
        page = re.sub(rf"\[([^\]]*)\]\(#{re.escape(anchor)}\)", r"\1", page)
    for other in others:
        page = re.sub(rf"(--model |-m kit fetch |`){re.escape(other)}\b", rf"\g<1>{model}", page)
    return page


def _without_models(beginning: str) -> str:
    """A page's first paragraphs without those that list the kit's models."""
    paragraphs = beginning.split("\n\n")
    return "\n\n".join(each for each in paragraphs if "/model.toml)" not in each)


def commands_in(pages: Mapping[str, str]) -> list[str]:
    """The modules of the further commands that the pages name: what they need goes with the pages."""
    named = {name for text in pages.values() for name in _COMMAND.findall(text)}
    programs = [f'prog="python -m kit {name}"' for name in named]
    return [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "kit").rglob("*.py"))
        if any(program in path.read_text("utf-8") for program in programs)
    ]


def relinked(pages: Mapping[str, str], files: Collection[str]) -> dict[str, bytes]:
    """The pages with their links for the repository that has `files`."""
    renamed = {source: page for page, (source, _) in _PAGES.items()}
    names = {*files, *pages}

    def place(folder: str, target: str) -> str | None:
        found = posixpath.normpath(posixpath.join(folder, target))
        found = renamed.get(found, found)
        return posixpath.relpath(found, folder or ".") if _is_there(found, names) else None

    return {
        page: _relink(text, partial(place, posixpath.dirname(page))).encode("utf-8")
        for page, text in pages.items()
    }


def _without_run(adapter: Adapter) -> str:
    info = adapter.info
    return (
        f"# {info.name}: does it run on an Ascend NPU as on a CPU?\n\n"
        "**Nothing has been run yet**: there is no figure of this model on any device here.\n\n"
        f"Model: [{info.hub_id}]({info.source_url}), revision `{info.revision}`, {info.task}, license "
        f"{info.license}.\n\n{_COMMANDS}"
    )


def _from_logs(files: Collection[str]) -> Callable[[str], str | None]:
    """Where a link of logs/report.md leads from the repository's root."""

    def place(target: str) -> str | None:
        for candidate in (posixpath.normpath(f"logs/{target}"), posixpath.normpath(target)):
            if _is_there(candidate, files):
                return candidate
        return None

    return place


def _is_there(target: str, files: Collection[str]) -> bool:
    folder = target.rstrip("/") + "/"
    return target in files or any(name.startswith(folder) for name in files)


def _relink(text: str, place: Callable[[str], str | None]) -> str:
    """`text` with every relative link put where `place` says, None for nowhere."""

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        if ":" in target:
            return match[0]
        to = place(target)
        bang = "!" if match[0].startswith("!") else ""
        return f"{bang}[{words}]({to}{anchor})" if to else words

    def attribute(match: re.Match[str]) -> str:
        to = None if ":" in match[2] else place(match[2])
        return f'{match[1]}="{to}"' if to else match[0]

    return _ATTRIBUTE.sub(attribute, _LINK.sub(link, text))
