"""How the detectors of a comparison stand beside each other: in words, and as rows of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from logllm_core.evaluation import detector_figures
from logllm_core.pages import MODEL
from logllm_core.pages.figures_as_text import LABELS, figure_rows, shown
from logllm_core.store.store import Json

SIMPLE = "all windows"  # the labels that simple detectors learn from
NUM_NAMED = 3  # of the detectors ahead of LogLLM, in the first paragraph


def verdict(detectors: Mapping[str, Mapping[str, Json]], contenders: Sequence[str]) -> str:
    """The page's first paragraph.

    Args:
        contenders: the titles of those that were run; the other detectors are the simple ones.
    """
    f1 = {name: detector_figures.figure(found, "f1") for name, found in detectors.items()}
    own = f1.pop(MODEL, None)
    sentences = [f"{MODEL} was not run."]
    if MODEL in detectors:
        pr_auc = detector_figures.figure(detectors[MODEL], "pr_auc")
        sentences = [
            f"{MODEL} reaches {LABELS['f1']} {shown(own)}, {LABELS['pr_auc']} {shown(pr_auc)}."
        ]
    others = {name: value for name, value in f1.items() if name in contenders}
    simple = {name: value for name, value in f1.items() if name not in contenders}
    for kind, group in (("other methods of the paper", others), ("simple detectors", simple)):
        known = {name: value for name, value in group.items() if value is not None}
        if known:
            sentences.append(_standing(own, kind, known))
    return " ".join(sentences)


def _standing(own: float | None, kind: str, f1: Mapping[str, float]) -> str:
    """How LogLLM's F1 stands beside those of one kind; without one, the best of them."""
    ranked = sorted(f1, key=lambda name: f1[name], reverse=True)
    told = [f"{name} ({shown(f1[name])})" for name in ranked]
    if own is None:
        return f"Of the {kind}, {told[0]} has the highest {LABELS['f1']}."
    num_higher = sum(value > own for value in f1.values())
    if not num_higher:
        return f"Of the {kind}, none has a higher {LABELS['f1']}; the best is {told[0]}."
    more = f" and {num_higher - NUM_NAMED} more" if num_higher > NUM_NAMED else ""
    named = ", ".join(told[: min(num_higher, NUM_NAMED)])
    have = "has" if num_higher == 1 else "have"
    return (
        f"Of the {kind}, {num_higher} of {len(f1)} {have} a higher {LABELS['f1']}: {named}{more}."
    )


def comparison_rows(content: Mapping[str, Any]) -> list[dict[str, Json]]:
    """A row a detector, those of the paper first; what was not run says why in `note`."""
    measured = {row["detector"]: row for row in figure_rows(content)}
    rows = []
    for found in content["contenders"]:
        told, cost = found["published"], found["cost"]
        rows.append(
            {
                **measured.pop(found["title"], {"detector": found["title"]}),
                "published_f1": told and told["f1"],
                "fit_seconds": cost and cost["fit_seconds"],
                "score_seconds": cost and cost["score_seconds"],
                "labels": found["labels"],
                "note": found["not_run"] or "",
            }
        )
    nothing = dict.fromkeys(("published_f1", "fit_seconds", "score_seconds"))
    rows += [{**row, **nothing, "labels": SIMPLE, "note": ""} for row in measured.values()]
    return rows
