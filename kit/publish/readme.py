"""The pages of a published repository: the report as README.md, the kit's own as KIT.md.

Both were written for another place: a link is set right where its target is in the repository, and
becomes plain text where it is not.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial

from kit.evidence.logs import REPORT
from kit.models.adapter import Adapter
from kit.publish.contents import ROOT
from kit.publish.published_run import PublishedRun

# The kit's pages by their name in a repository, and in this checkout where that is no repository.
_PAGES = {"KIT.md": "README.md", "KIT.zh-CN.md": "README.zh-CN.md"} | {
    f"docs/{name}": f"docs/{name}"
    for name in ("usage.md", "usage.zh-CN.md", "evidence.md", "evidence.zh-CN.md")
}
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


def kit_pages(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """KIT.md and docs/, in both languages, with their links for the repository that has `files`."""
    at_hand = {
        page: ROOT / (page if (ROOT / page).exists() else source) for page, source in _PAGES.items()
    }
    renamed = {source: page for page, source in _PAGES.items()}
    names = {*files, *_PAGES}

    def place(folder: str, target: str) -> str | None:
        found = posixpath.normpath(posixpath.join(folder, target))
        found = renamed.get(found, found)
        return posixpath.relpath(found, folder or ".") if _is_there(found, names) else None

    return {
        page: _relink(path.read_text("utf-8"), partial(place, posixpath.dirname(page))).encode(
            "utf-8"
        )
        for page, path in at_hand.items()
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
