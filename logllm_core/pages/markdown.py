"""The report as markdown, for places that show no HTML.

Log text, such as the name of an alert, is hostile: its marks are escaped.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from logllm_core.pages import MODEL, figures_as_text
from logllm_core.pages.figures_as_text import (
    LABELS,
    PEAKS,
    UNDEFINED,
    Content,
    as_setting,
    cut,
    figures_of,
    rounding_sentence,
    seed_choice,
    shown,
    shown_interval,
)
from logllm_core.store.store import Json

# All signs that mean something in markdown. Of some, a reader might still make markup when they
# stand behind a backslash; these are written by their numbers.
_SIGNS = re.compile(r"[!#$&()*+\-.:<=>@\[\\\]^_`{|}~]")
_BY_NUMBER = "&<>|\\`"


def as_markdown(content: Content, page: Path) -> str:
    """The whole report in markdown, but for the windows.

    Args:
        content: of report.json.
        page: the report for people, which is named at the end.
    """
    sections: Mapping[str, Callable[[Content], Iterable[str]]] = {
        "Figures": _figures,
        "Over seeds": _seeds,
        "Beside the strongest other": _differences,
        "Never seen before": _subsets,
        "Recall by alert type": _alerts,
        "Which lines": _lines,
        "Calibration": _calibration,
        "Data": _data_card,
        "Cost": _cost,
        "Changed settings": _overrides,
    }
    written = [f"# {MODEL} on {escape(content['dataset'])}", ""]
    written += [escape(content["verdict"]), "", escape(cut(content["title"]))]
    for title, write in sections.items():
        lines = list(write(content))
        if lines:
            written += ["", f"## {title}", "", *lines]
    return "\n".join([*written, "", f"The whole report: {escape(str(page))}"]) + "\n"


def alert_rows(content: Content) -> list[dict[str, Json]]:
    """The alert types for a table whose cells are read as markdown, as those of Prefect are."""
    return [row | {"alert": escape(row["alert"])} for row in figures_as_text.alert_rows(content)]


def escape(text: str) -> str:
    """Text that shows as it stands, in markdown and in the HTML that is made of it."""
    plain = "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)
    return _SIGNS.sub(_harmless, plain.strip())  # four spaces would begin a block of code


def _harmless(found: re.Match[str]) -> str:
    sign = found[0]
    return f"&#{ord(sign)};" if sign in _BY_NUMBER else f"\\{sign}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table whose first column is text, and the others figures; cells are markdown already."""
    head = [f"| {' | '.join(columns)} |", "|".join(["", "---", *["---:"] * (len(columns) - 1), ""])]
    return [*head, *(f"| {' | '.join(row)} |" for row in rows)]


def _figures(content: Content) -> list[str]:
    detectors = {name: figures_of(found) for name, found in content["detectors"].items()}
    labels = [LABELS[key] for key in detectors[MODEL]]
    columns = ["detector"]
    for key, label in zip(detectors[MODEL], labels, strict=True):
        columns += [label, "95 %"] if key in {"f1", "pr_auc"} else [label]
    rows = []
    for name, figures in detectors.items():
        row = [name]
        for key, (value, bounds) in figures.items():
            row.append(shown(value, key=key))
            if key in {"f1", "pr_auc"}:
                row.append(shown_interval(bounds))
        rows.append(row)
    own = [
        [LABELS[key], shown(value, key=key), shown_interval(bounds, key=key)]
        for key, (value, bounds) in detectors[MODEL].items()
    ]
    reasons = content["not_applicable"].items()
    rounding = rounding_sentence(content)
    return [
        *table([MODEL, "value", "95 %"], own),
        "",
        *([escape(rounding), ""] if rounding else []),
        *table(columns, rows),
        *([""] if reasons else []),
        *(f"- Not applicable: {name}. {escape(reason)}" for name, reason in reasons),
    ]


def _seeds(content: Content) -> list[str]:
    seeds = content["seeds"]
    if seeds is None:
        return []
    columns = ["figure", "mean", "standard deviation", "least", "most"]
    rows = [
        [LABELS[key], *(shown(found and found[part]) for part in ("mean", "std", "min", "max"))]
        for key, found in seeds["figures"].items()
    ]
    listed = f"Seeds {', '.join(map(str, seeds['seeds']))}."
    sentences = [listed, *([escape(choice)] if (choice := seed_choice(seeds)) else [])]
    return [" ".join(sentences), "", *table(columns, rows)]


def _differences(content: Content) -> list[str]:
    return [
        f"- {LABELS[key]}: {MODEL} minus {found['detector']} is {found['difference']:+.3f} "
        f"(95 % {shown_interval(found['interval'])})."
        for key, found in content["differences"].items()
        if found is not None
    ]


def _subsets(content: Content) -> list[str]:
    titles = {
        "unseen_sequences": "whose sequence of messages is in no training window",
        "unseen_message_sets": "whose set of messages is in no training window",
    }
    written: list[str] = []
    for key, title in titles.items():
        found = content["subsets"][key]
        figures = ("precision", "recall", "f1", "pr_auc")
        counted = f"{found['num_windows']:,} test windows {title}"
        written += [f"{counted}; {found['num_anomalous']:,} of them anomalous.", ""]
        if found["num_windows"]:
            rows = [
                [name, *(shown(values[figure]) for figure in figures)]
                for name, values in found["detectors"].items()
            ]
            written += [*table(["detector", *(LABELS[figure] for figure in figures)], rows), ""]
    return written[:-1]


def _alerts(content: Content) -> list[str]:
    alerts = content["alerts"]
    if alerts is None:
        return []
    columns = ["alert type", "training windows", "test windows", "recall"]
    rows = [
        [
            found["alert"] + ("" if found["is_in_training"] else " (not in training)"),
            f"{found['num_train_windows']:,}",
            f"{found['num_test_windows']:,}",
            found["recall"] if isinstance(found["recall"], str) else shown(found["recall"]),
        ]
        for found in alert_rows(content)
    ]
    num_more = len(alerts["types"]) - len(rows)
    groups = {"seen": "with an alert type of training", "unseen": "with none of them"}
    return [
        *table(columns, rows),
        *(["", f"{num_more:,} more types are in the whole report."] if num_more else []),
        "",
        *(
            f"- Anomalous test windows {title}: {alerts[group]['num_windows']:,}, "
            f"recall {shown(alerts[group]['recall'][MODEL])}."
            for group, title in groups.items()
        ),
    ]


def _lines(content: Content) -> list[str]:
    lines = content["lines"]
    if lines is None:
        return []
    figures = ("hit_at_1", "hit_at_3", "pr_auc")
    rows = [
        [name, *(shown(found[figure]) for figure in figures)]
        for name, found in lines["rankings"].items()
    ]
    return [
        f"{lines['num_flagged_windows']:,} flagged windows, {lines['num_windows']:,} of them "
        f"localized. {lines['num_windows_with_alerts']:,} of these hold alert lines: "
        f"{lines['num_alert_lines']:,} of {lines['num_lines']:,} lines. "
        f"{lines['num_alert_lines_missed']:,} alert lines are in windows that were not flagged.",
        "",
        *table(["ranking", *(LABELS[figure] for figure in figures)], rows),
    ]


def _calibration(content: Content) -> list[str]:
    found = content["calibration"]
    rows = [
        [
            f"{bin_['low']:.1f}-{bin_['high']:.1f}",
            f"{bin_['num_windows']:,}",
            shown(bin_["mean_probability"]),
            shown(bin_["anomalous_fraction"]),
        ]
        for bin_ in found["bins"]
        if bin_["num_windows"]
    ]
    columns = ["probability", "windows", "mean probability", "anomalous"]
    return [
        f"ECE {shown(found['ece'])}, Brier {shown(found['brier'])}.",
        "",
        *table(columns, rows),
    ]


def _data_card(content: Content) -> list[str]:
    card = content["data_card"]
    source, log, repeats = card["source"], card["log"], card["repeats"]
    checksums = [file["checksum"] for file in source["log_files"]]
    more = f" and {len(checksums) - 1:,} more files" if len(checksums) > 1 else ""
    origin = source["origin"]
    if source.get("is_official_content") is not None:
        origin += ", as published" if source["is_official_content"] else ", not as published"
    dropped = (card["labels_of_dropped"] or {}).items()
    labels = ", ".join(f"{escape(cut(label))} {count:,}" for label, count in dropped)
    rows = [
        [
            split,
            f"{found['num_windows']:,}",
            f"{found['num_anomalous']:,}",
            shown(found["num_anomalous"] / found["num_windows"] if found["num_windows"] else None),
        ]
        for split, found in card["splits"].items()
    ]
    return [
        f"- Log: {escape(origin)}; {escape(checksums[0])}{more}." if checksums else "- Log: none.",
        f"- {log['num_lines']:,} lines read, {log['num_kept_lines']:,} kept, "
        f"{log['num_unparsed_lines']:,} dropped{f' (labels: {labels})' if labels else ''}; "
        f"{log['num_distinct_messages']:,} distinct messages.",
        f"- {log['num_lines_beyond_ascii']:,} lines beyond ASCII, "
        f"{log['num_lines_with_controls']:,} with control characters, "
        f"{log['num_lines_ended_by_lone_cr']:,} ended by a lone carriage return, "
        f"{log.get('num_lines_cut', 0):,} cut as too long.",
        f"- Test windows that repeat a training window: {repeats['same_label']:,} always with the "
        f"same label, {repeats['other_label']:,} only with the other, "
        f"{repeats['both_labels']:,} with both.",
        f"- F1 ceiling of whatever judges by the sequence alone: {shown(card['f1_ceiling'])}.",
        f"- {card['num_test_messages_unseen_in_training']:,} messages of the test split are not in "
        "the training split.",
        "",
        *table(["split", "windows", "anomalous", "share"], rows),
    ]


def _cost(content: Content) -> list[str]:
    rows = [
        [
            f"stage {escape(stage['name'])}",
            f"{stage['training_seconds']:,.1f}",
            f"{stage['num_trained_parameters']:,}",
            f"{stage['num_parameters']:,}",
            *_gigabytes(stage),
        ]
        for stage in content["stages"]
    ]
    scoring = content["scoring"]
    rows.append(["scoring", f"{scoring['scoring_seconds']:,.1f}", "", "", *_gigabytes(scoring)])
    rows.append(["localizing", f"{scoring['localization_seconds']:,.1f}", *[""] * 4])
    columns = ["step", "seconds", "trained parameters", "parameters", "memory, GB", "GPU, GB"]
    speed = scoring["windows_a_second"]
    told = UNDEFINED if speed is None else f"{speed:,.1f}"
    return [*table(columns, rows), "", f"{told} windows a second are scored."]


def _gigabytes(step: Content) -> list[str]:
    return [f"{step[key] / 1e9:.2f}" for key in PEAKS]


def _overrides(content: Content) -> list[str]:
    return [
        f"- {escape(name)} = {escape(as_setting(value))}"
        for name, value in content["settings"]["overrides"].items()
    ]
