"""Pieces of a report's content, with made-up figures."""

from collections.abc import Mapping
from typing import Any

HOSTILE = '<script>alert(1)</script> & "quotes" </pre><img src=x onerror=alert(2)> {{ 7 * 7 }}'
MODEL = "LogLLM"
OTHERS = (
    "always anomalous",
    "message never seen in a normal training window",
    "highest anomaly rate of any message",
    "exact-sequence lookup",
    "logistic regression on message counts",
    "decision tree on message counts",
    "gradient boosting on message counts",
    "1-nearest neighbour on message counts",
    "logistic regression on the encoder's mean vector",
)
FIGURES = ("precision", "recall", "f1", "specificity", "mcc", "false_alarms_per_10000")


def verdicts(tp: int, fp: int, fn: int, tn: int, threshold: float = 0.5) -> dict[str, Any]:
    """Figures of four counts; undefined is None."""

    def ratio(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    product = float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {
        "threshold": threshold,
        "true_positives": tp,
        "false_positives": fp,
        "false_negatives": fn,
        "true_negatives": tn,
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "specificity": ratio(tn, tn + fp),
        "mcc": ratio(tp * tn - fp * fn, product**0.5),
        "false_alarms_per_10000": ratio(10_000 * fp, tp + fp + fn + tn),
    }


def around(value: float | None, width: float = 0.04) -> list[float] | None:
    return None if value is None else [value - width, min(value + width / 2, 1.0)]


def detector(
    decided: Mapping[str, Any], chosen: Mapping[str, Any] | None, pr_auc: float | None
) -> dict[str, Any]:
    """A detector's entry, with made-up intervals."""

    def intervals(found: Mapping[str, Any]) -> dict[str, Any]:
        rates = {name: around(found[name]) for name in FIGURES[:-1]}
        alarms = found["false_alarms_per_10000"]
        return {**rates, FIGURES[-1]: None if alarms is None else [alarms * 0.6, alarms * 1.5]}

    return {
        "at_decision": decided,
        "at_validation_threshold": chosen,
        "pr_auc": pr_auc,
        "roc_auc": pr_auc and (1 + pr_auc) / 2,
        "oracle_f1": pr_auc,
        "intervals": {
            "at_decision": intervals(decided),
            "at_validation_threshold": chosen and intervals(chosen),
            "pr_auc": around(pr_auc),
            "roc_auc": around(pr_auc, 0.02),
        },
    }


def line(number: int, content: str, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "content": content,
        "num_cut_characters": 0,
        "alert": None,
        "contribution": None,
        "is_carrier": False,
        "num_skipped": 0,
    } | more


def window(kind: str, window_id: int, lines: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "window_id": window_id,
        "session_id": None,
        "start_time": None,
        "probability": 0.9 if kind in ("found", "false alarm") else 0.1,
        "alerts": sorted({entry["alert"] for entry in lines if entry["alert"]}),
        "num_lines": len(lines) + sum(entry["num_skipped"] for entry in lines),
        "lines": lines,
    } | more


def alert_content() -> dict[str, Any]:
    kinds = (
        ("KERNDTLB", True, 3, 2, 1.0),
        (HOSTILE, False, 0, 1, 0.0),
        ("$\\frac{", True, 1, 1, 1),
    )
    types = [
        {
            "alert": name,
            "is_in_training": is_seen,
            "num_train_windows": num_train,
            "num_test_windows": num_test,
            "recall": {MODEL: recall, OTHERS[0]: 1.0},
        }
        for name, is_seen, num_train, num_test, recall in kinds
    ]
    unseen: dict[str, Any] = {"num_windows": 1, "recall": {MODEL: 0.0, OTHERS[0]: 1.0}}
    seen: dict[str, Any] = {"num_windows": 3, "recall": {MODEL: 2 / 3, OTHERS[0]: 1.0}}
    return {"types": types, "seen": seen, "unseen": unseen}


def calibration_content(counts: tuple[int, ...] = (4, 2, 0, 0, 0, 0, 0, 0, 1, 3)) -> dict[str, Any]:
    bins = []
    for place, count in enumerate(counts):
        middle = place / 10 + 0.05
        share = min(1.0, max(0.0, 1.2 * middle - 0.08))
        bins.append(
            {
                "low": place / 10,
                "high": (place + 1) / 10,
                "num_windows": count,
                "mean_probability": middle if count else None,
                "anomalous_fraction": share if count else None,
            }
        )
    return {"ece": 0.062, "brier": 0.044, "bins": bins}


def card_content() -> dict[str, Any]:
    split = {"num_windows": 10, "num_anomalous": 4, "num_lines": 50, "num_distinct_windows": 9}
    return {
        "source": {
            "origin": "mirror",
            "location": "/mirror/<b>log</b>.tar.gz",
            "sha256": "ab" * 32,
            "is_official_content": False,
            "log_files": [
                {
                    "location": "/mirror/log.tar.gz",
                    "member": "x.log",
                    "size_bytes": 4_460_582,
                    "checksum": f"sha256:{'ab' * 32}",
                }
            ],
            "label_file": None,
        },
        "log": {
            "num_lines": 30_000,
            "num_kept_lines": 29_799,
            "num_unparsed_lines": 201,
            "num_alert_lines": 538,
            "num_lines_beyond_ascii": 16,
            "num_lines_with_controls": 3,
            "num_lines_ended_by_lone_cr": 2,
            "num_lines_without_time": None,
            "num_lines_without_session": None,
            "num_distinct_messages": 103,
            "num_files": 1,
            "line_slice": None,
            "preprocessing": "regex",
            "has_parser_seen_test_lines": False,
        },
        "labels_of_dropped": {"no label": 180, HOSTILE: 21},
        "splits": {
            name: {**split, "longest_window": 20} for name in ("train", "validation", "test")
        },
        "requested": {"train": 0.6, "validation_of_train": 0.1},
        "obtained": {"train": 0.54, "validation": 0.06, "test": 0.4},
        "num_lines_with_guessed_time": 0,
        "num_labels_without_lines": 0,
        "repeats": {"same_label": 2, "other_label": 1, "both_labels": 0},
        "f1_ceiling": 0.857,
        "num_anomalous_runs": 3,
        "num_test_messages_unseen_in_training": 25,
    }


# What each trained stage of the tests has in its manifest's results, whatever its sizes.
STAGE_RESULTS = {
    "training_seconds": 90.0,
    "peak_memory_bytes": 2_340_000_000,
    "peak_gpu_memory_bytes": 0,
    "num_processes": 1,
    "num_resumes": 2,
    "best_validation": {"step": 7, "pr_auc": 0.875},
    "is_stopped_early": True,
    "micro_batch_size": 8,
    "dtype": "torch.float32",
    "overrides": {},
}


def stage_content(name: str, trains: list[str], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "trains": trains,
        "learning_rate": 5e-4,
        "artifact": "94f8c6d68ad8b5be",
        "num_steps": 20,
        "num_samples": 160,
        "num_trained_parameters": 460_800,
        "num_parameters": 157_947_648,
        "num_cut_messages": 0,
        "num_cut_windows": 0,
        "first_loss": 3.13,
        "last_loss": 0.133,
        **STAGE_RESULTS,
        "windows_a_second": 160 / 90,
    } | more
