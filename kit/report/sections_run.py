"""What was run, where, with which weights, and what follows: the published reports' own sections."""

from __future__ import annotations

from collections.abc import Iterator

from kit.evidence.logs import COMPARE_LOG, RECORD, RUN_LOG, SUMMARY, WEIGHTS_LOG
from kit.evidence.types.shared import Weights
from kit.report.claims import sentence
from kit.report.escaping import shell_word
from kit.report.facts import Told, count
from kit.report.outline import Block, Cell, Code, Fact, Facts, Note, Points, Section, Table, Toned

# label: the file; paths are as a reader of the repository sees them
_FILES = {"run_log": RUN_LOG, "weights_log": WEIGHTS_LOG, "compare_log": COMPARE_LOG,
          "record": RECORD, "summary": SUMMARY}  # fmt: skip
# Options of inference.py that take a value, by their names in the record; the second are of --data.
_OPTIONS = "device weights input data dtype precision attention warmup iterations seed".split()
_DATA_OPTIONS = "samples batch_size".split()
_FLAGS = "require_pretrained offline".split()
# What a grader looks for, under the summary's own names.
_SCORE = (
    "max_abs_diff mean_abs_diff cosine_similarity top1_match top5_match match_within_1_percent"
).split()


def lead(told: Told) -> Iterator[Block]:
    """What is read first: verdict, device, weights, error, latency."""
    summary, say = told.summary, told.say
    if told.run and told.run.error:
        yield Note(f"{say('label.error')}: {told.text(told.run.error.message)}", "bad")
    primary = (summary.outputs or {}).get(summary.primary_output or "")
    metrics = primary.metrics if primary else None
    relative = told.figure(metrics and metrics.relative_l2, "metrics")
    if summary.outputs is None:
        relative = told.at("outputs")
    device = told.at("device_name")
    if summary.device and summary.device_name not in (None, summary.device):
        device = f"{summary.device_name} ({summary.device})"
    tiles = (
        told.fact("verdict", Toned(say(f"verdict.{summary.verdict}"), told.claim.tone)),
        told.fact("device_name", device),
        told.fact("weights", Toned(say(f"brief.{told.claim.weights}"), told.claim.of_weights)),
        told.fact("within", _judged(told, "match_within_1_percent")),
        told.fact("relative_l2", relative),
        *told.facts("max_abs_diff"),
        told.fact("top1", _judged(told, "top1_match")),
        *told.facts("latency_ms", "npu_latency_ms"),
    )
    yield Facts(tiles, tiles=True)
    if metrics:
        yield Note(say("text.primary", output=summary.primary_output))
    if summary.match_basis:
        yield Note(f"{say('label.match_basis')}: {told.text(summary.match_basis)}")


def _judged(told: Told, name: str) -> Cell:
    value = getattr(told.summary, name)
    return told.at(name) if value is None else told.good(value)


def model(told: Told) -> Section:
    """Whose model it is."""
    declared = told.run.model if told.run else None
    on_hub = declared is not None and declared.hub_id is not None
    origin = ["HuggingFace", declared.hub_id, declared.revision] if declared and on_hub else None
    return told.section(
        "model",
        (
            *told.facts("model", "source_url"),
            *([told.fact("origin", origin)] if origin else ()),
            *told.facts("vendor", "task", "run.model.architecture", "run.model.license"),
        ),
    )


def hardware(told: Told) -> Section:
    """The device, and the host's processor."""
    device, count_of = told.summary.device, told.at("device_count")
    facts = [*told.facts("device_name", "device")]
    if told.claim.place == "npu" or device is None:
        facts.append(told.fact("npu_count", count_of))
    else:
        none = told.missing(told.say("null.no_npu", device=device))
        facts += [told.fact("npu_count", none), told.fact("device_count", count_of)]
    facts.append(told.fact("device_reason", told.at("run.device.reason")))
    facts += told.facts("environment.processor", "environment.cores")
    return told.section("hardware", facts)


def software(told: Told) -> Section:
    """The versions of what was installed, and what else bears on a number."""
    environment, reference = told.summary.environment, told.summary.reference
    if environment is None:
        return told.without("software", "environment")
    absent = told.say("phrase.not_installed")
    facts = [
        told.fact("machine", [environment.system, environment.machine]),
        Fact("Python", environment.python),
        *(Fact(name, version or absent) for name, version in environment.packages.items()),
        Fact("CANN", told.at("cann_version")),
        *told.facts("environment.driver_version"),
        told.fact("threads", f"{environment.threads}, {environment.interop_threads}"),
        told.fact("deterministic", told.yes(environment.deterministic)),
        *told.facts("environment.variables"),
    ]
    if reference and reference.environment:
        torch = reference.environment.packages.get("torch") or absent
        where = [told.text(told.at("reference.environment.processor")), f"torch {torch}"]
        facts.append(told.fact("reference_machine", where))
    return told.section("software", facts)


def install(told: Told) -> Section:
    """The requirements to install."""
    npu = "-npu" if told.claim.place in ("npu", "claimed_npu") else ""
    return told.section("install", Code((f"pip install -r requirements{npu}.txt",)))


def command(told: Told) -> Section:
    """inference.py with what it was asked, as the record has it (of paths, the last part)."""
    words = ["python inference.py"]
    if told.run:
        asked = told.run.arguments
        model = told.run.model
        words += ["--model", shell_word(model.adapter or model.hub_id or f"./{model.name}")]
        for name in _OPTIONS if asked.data is None else [*_OPTIONS, *_DATA_OPTIONS]:
            if (value := getattr(asked, name)) is not None:
                words += [_option(name), shell_word(str(value))]
        words += [word for url in asked.mirrors for word in ("--mirror", shell_word(url))]
        words += [_option(name) for name in _FLAGS if getattr(asked, name)]
    return told.section("command", Code((" ".join(words), "python compare_accuracy.py")))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def weights(told: Told) -> Section:
    """Which weights were loaded."""
    say, found = told.say, told.summary.weights
    facts = [told.fact("status", say(f"weights.{told.claim.weights}"))]
    if found is None or not found.fallback_used:
        facts += told.facts("weights.pretrained_reason")
    facts += [*told.facts("weight_path"), *told.named("pretrained_used", "local_weight_used")]
    if found:
        for file in found.files:
            origin = say(f"origin.{file.hash_origin}")
            text = f"{file.name}, {count(file.bytes)} bytes, sha256 {file.sha256} ({origin})"
            facts.append(told.fact("weights_file", text))
            if (pickle := file.converted_from) is not None:
                text = f"{pickle.name}, sha256 {pickle.sha256}"
                facts.append(told.fact("converted_from", text))
        if not found.files:
            facts.append(told.fact("weights_file", told.missing(say("null.no_file"))))
        sizes = {"parameters": count(found.parameters), "tensors": count(found.tensors)}
        facts.append(told.fact("size", say("text.size", **sizes)))
        facts += (told.fact(label, value) for label, value in _account(found) if value)
    return told.section("weights", facts)


def _account(found: Weights) -> Iterator[tuple[str, object]]:
    """What became of the file's tensors, and what a cast broke."""
    if (contents := found.contents) is not None:
        yield from (("tensors_renamed", len(contents.renamed)), ("tensors_legacy", contents.legacy))
        yield from (
            ("tensors_converted", len(contents.converted)),
            ("tensors_unused", contents.unused),
        )
        yield "tensors_initialised", contents.initialised
    yield "left_out", found.outputs_of_random_heads
    if (cast := found.cast) is not None:
        yield from (("cast_kept", cast.kept_float32), ("cast_infinite", cast.became_infinite))
        yield "cast_zero", cast.became_zero


def fallback(told: Told) -> Section:
    """What stood in for what was missing: random weights, operators on the CPU."""
    found, proof = told.summary.weights, told.summary.device_proof
    facts = [*told.facts("fallback_used")]
    if found:
        facts = [told.fact("fallback_used", told.yes(found.fallback_used))]
        facts += told.facts("fallback_reason") if found.fallback_used else ()
        measure = "random" if found.fallback_used else "nothing_needed"
        facts.append(told.fact("measure", told.say(f"text.{measure}", seed=found.seed)))
    operators = told.at("device_proof.fallback_ops")
    if proof and proof.fallback_reason is not None:
        operators = told.missing(proof.fallback_reason)
    return told.section("fallback", (*facts, told.fact("fallback_ops", operators)))


def results(told: Told) -> Section:
    """What the device gave."""
    summary = told.summary
    text = summary.input_tokens is not None or summary.input is None
    facts = [
        *told.facts("status", "started_at", "device", "input"),
        *(told.named("input_tokens", "decoder_input") if text else ()),
        *told.facts("dtype", *["attention"] * (summary.attention is not None)),
        *told.facts("output_shape", "npu_latency_ms", "latency_ms"),
    ]
    described = told.run.described if told.run else None
    for place, found in enumerate((described and described.top5) or (), 1):
        label = f"{found.label} #{found.index}" if found.label else f"#{found.index}"
        facts.append(
            Fact(f"top-{place}", f"{label}, logit {told.text(told.figure(found.logit, 'logit'))}")
        )
    if described and described.generated:
        made = described.generated
        absent = told.missing(made.text_reason or told.say("null.record"))
        facts.append(Fact("generate()", absent if made.text is None else told.text(made.text)))
        facts.append(Fact("generated_ids", told.text(made.token_ids)))
    return told.section("results", facts, remark=told.suffix)


def logs(told: Told) -> Section:
    """Where the run's files are."""
    return told.section("logs", _files(told, *_FILES))


def _files(told: Told, *labels: str) -> Iterator[Fact]:
    none = told.say("phrase.not_there", reason=told.say("null.log"))
    for label in labels:
        there = told.logs.path(_FILES[label]).is_file()
        yield told.fact(label, f"logs/{_FILES[label]}" if there else none)


def conclusion(told: Told) -> Section:
    """What may be concluded, and what is missing for it."""
    say, summary = told.say, told.summary
    status = Note(sentence(told.claim, say))
    if summary.submission_ready and told.claim.on_npu:
        return told.section("conclusion", status, Note(say("text.ready")))
    blockers = tuple(say.reason(each) for each in summary.submission_blockers)
    return told.section("conclusion", status, Note(say("text.not_ready")), Points(blockers))


def score(told: Told) -> Section:
    """The figures that graders look for, in the published reports' own rows."""
    summary, say = told.summary, told.say
    side = say(f"side.{told.claim.place}")
    none = say("text.score_none", reason=say.reason(summary.null_reasons.get("outputs", "")))
    intro = none if summary.outputs is None else say("text.score_compared", side=side)

    def together(label: str, *names: str) -> Fact:
        return told.fact(label, {name: told.at(name) for name in names})

    rows = (
        told.fact(
            "reference_side",
            "CPU" if summary.reference_device == "cpu" else told.at("reference_device"),
        ),
        told.fact("device_side", side),
        together("weights_used", "pretrained_used", "local_weight_used"),
        told.fact("weights_path", told.at("weight_path")),
        *told.named(*_SCORE),
        Fact("NPU latency_ms", told.at("npu_latency_ms")),
    )
    facts = (
        together("precision_error", "mean_abs_diff", "cosine_similarity"),
        together("error_value", "max_abs_diff", "match_within_1_percent"),
        *told.facts("match_basis"),
        told.fact("note", say("text.note")),
        told.fact("original_weights", told.at("source_url")),
        *_files(told, "compare_log", "summary"),
    )
    pairs = tuple((row.label, row.value) for row in rows)
    table = Table(head=told.heads("item", "value"), rows=pairs, words=2)
    return told.section("score", Note(intro), table, facts, remark=told.suffix)
