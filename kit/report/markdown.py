"""report.md: what was measured, in the published reports' sections, and what was not, with its reason."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from kit.evidence.logs import (
    COMPARE_LOG,
    PLOTS,
    RECORD,
    REPORT,
    REPORT_ENGLISH,
    RUN_LOG,
    SUMMARY,
    WEIGHTS_LOG,
    Logs,
)
from kit.evidence.reading import Evidence
from kit.report.claims import claim_of, sentence
from kit.report.escaping import shell_word
from kit.report.facts import Facts
from kit.report.front_matter import front_matter
from kit.report.texts import Texts

# label: the file; paths are as a reader of the repository sees them
_FILES = {
    "run_log": RUN_LOG,
    "weights_log": WEIGHTS_LOG,
    "compare_log": COMPARE_LOG,
    "record": RECORD,
    "summary": SUMMARY,
}
# Options of inference.py that take a value, by their names in the record; the second are of --data.
_OPTIONS = "device weights input data dtype precision warmup iterations seed".split()
_DATA_OPTIONS = "samples batch_size".split()
_FLAGS = "require_pretrained offline".split()


def write_markdown(logs: Logs, evidence: Evidence, language: str) -> None:
    """Write report.md in `language` (zh, en), or in both: then English is report.en.md."""
    logs.write_text(REPORT, render(logs, evidence, "en" if language == "en" else "zh"))
    if language == "both":
        logs.write_text(REPORT_ENGLISH, render(logs, evidence, "en"))


def render(logs: Logs, evidence: Evidence, language: str) -> str:
    """The report as text. `logs` only tells which files there are."""
    say = Texts(language)
    facts, claim = Facts(evidence, say), claim_of(evidence.summary)
    text = (
        _templates()
        .get_template("report.md.j2")
        .render(
            run=evidence.record,
            summary=evidence.summary,
            claim=claim,
            status=sentence(claim, say),
            suffix=say(f"suffix.{claim.place}"),
            front_matter=Markup(front_matter(evidence, claim)),
            command=_command(evidence),
            plots=[Markup(plot.name) for plot in sorted(logs.path(PLOTS).glob("*.png"))],
            files={label: _file(logs, name, say) for label, name in _FILES.items()},
            facts=facts,
            say=say,
            at=facts.at,
            field=facts.field,
            figure=facts.figure,
            has=facts.has,
            why_not=facts.why_not,
            missing=facts.missing,
            line=partial(_line, say, facts),
            row=partial(_row, facts),
        )
    )
    return text.rstrip("\n") + "\n"


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        # Jinja's own escaping is for HTML, and would pass on as Markup whatever it joined.
        finalize=_harmless,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@pass_context
def _harmless(context: Context, value: Any) -> Markup:
    """What a template prints: made harmless, unless it is Markup, which is so already."""
    facts: Facts = context["facts"]
    return facts.show(value)


def _line(say: Texts, facts: Facts, key: str, value: Any, **values: Markup) -> Markup:
    """A list entry: label and value."""
    return Markup("- ") + say(key, **values) + Markup(": ") + facts.show(value)


def _row(facts: Facts, *cells: Any) -> Markup:
    """A row of a table."""
    return Markup("| ") + Markup(" | ").join(map(facts.show, cells)) + Markup(" |")


def _file(logs: Logs, name: str, say: Texts) -> Markup:
    there = logs.path(name).is_file()
    return Markup(f"logs/{name}") if there else say("phrase.not_there", reason=say("null.log"))


def _command(evidence: Evidence) -> Markup:
    """inference.py with what it was asked, as the record has it (of paths, the last part)."""
    words = [Markup("python inference.py")]
    if not evidence.record:
        return words[0]
    asked = evidence.record["arguments"]
    model = evidence.record["model"]
    named = model["adapter"] or model["hub_id"] or f"./{model['name']}"
    words += [Markup("--model"), shell_word(named)]
    for name in _OPTIONS if asked["data"] is None else [*_OPTIONS, *_DATA_OPTIONS]:
        if asked[name] is not None:
            words += [_option(name), shell_word(str(asked[name]))]
    for url in asked["mirrors"]:
        words += [Markup("--mirror"), shell_word(url)]
    words += [_option(name) for name in _FLAGS if asked[name]]
    return Markup(" ").join(words)


def _option(name: str) -> Markup:
    return Markup("--" + name.replace("_", "-"))
