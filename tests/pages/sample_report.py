"""Contents of reports as report.json has them: a small one and a bare one, with their pictures."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from logllm_core.pages import charts
from logllm_core.results.json_files import from_json
from logllm_core.results.report import Report
from tests.pages.sample_parts import (
    HOSTILE,
    MODEL,
    OTHERS,
    alert_content,
    calibration_content,
    card_content,
    detector,
    line,
    stage_content,
    verdicts,
    window,
)

START = datetime(2005, 6, 3, 15, 42, 50)


def report_of(content: Mapping[str, Any]) -> Report:
    return from_json(Report, content)


def small_content() -> dict[str, Any]:
    """Ten test windows, two detectors; log text, alert names and titles are hostile."""
    found = [
        line(40, "generating core.1", contribution=-0.25),
        line(41, f"{HOSTILE} 41", alert="KERNDTLB", contribution=2.5, is_carrier=True),
        line(79, "\x1b[31mred\x1b[0m \u202egnp.exe", contribution=0.5, num_skipped=37),
    ]
    windows = [
        window("missed", 7, [line(55, "quiet", alert=HOSTILE)], session_id="blk_<b>7</b>"),
        window("missed", 8, [line(60, "needle in a haystack", num_cut_characters=1_234)]),
        window("false alarm", 3, [line(30, "fine", contribution=1.0, is_carrier=True)]),
        window("found", 4, found, start_time=START.isoformat(), num_lines=60),
        window("found", 5, [line(45, "again", alert="KERNDTLB", contribution=1.5)]),
    ]
    model = detector(verdicts(2, 1, 2, 5), verdicts(3, 2, 1, 4, 0.25), 0.75)
    other = detector(verdicts(4, 6, 0, 0), None, 0.4)
    subset = {"num_windows": 5, "num_anomalous": 2}
    four = ("precision", "recall", "f1", "pr_auc")
    unseen = {
        **subset,
        "detectors": {
            MODEL: dict(zip(four, (1.0, 0.5, 2 / 3, 0.8), strict=True)),
            OTHERS[0]: dict(zip(four, (0.4, 1.0, 4 / 7, None), strict=True)),
        },
    }
    return {
        "dataset": "hostile",
        "title": HOSTILE,
        "page": "https://example.org/log",
        "licence": "CC0",
        "citation": "Nobody, 2024",
        "recipe": "quick",
        "backbones": "small",
        "verdict": f"{MODEL} reaches F1 0.571, level with {OTHERS[0]} (0.571).",
        "learned": {
            "is_too_little": False,
            "last_loss": 0.012,
            "prior_loss": 0.102,
            "pr_auc": None,
            "rival": None,
            "rival_pr_auc": None,
            "shortfall": None,
            "advice": None,
        },
        "detectors": {MODEL: model, OTHERS[0]: other},
        "not_applicable": {OTHERS[2]: "The lines have no labels."},
        "differences": {
            "f1": {"detector": OTHERS[0], "difference": 0.0, "interval": [-0.1, 0.1]},
            "pr_auc": {"detector": OTHERS[0], "difference": 0.35, "interval": [0.05, 0.5]},
        },
        "seeds": {
            "seeds": [0, 1, 2],
            "kept": None,
            "figures": {
                "f1": {"values": [0.5, 0.6, 0.7], "mean": 0.6, "std": 0.1, "min": 0.5, "max": 0.7},
                "pr_auc": None,
            },
        },
        "validation": {"num_windows": 4, "num_anomalous": 1, "f1": 0.5, "pr_auc": None},
        "subsets": {"unseen_sequences": unseen, "unseen_message_sets": unseen},
        "alerts": alert_content(),
        "lines": {
            "num_windows": 3,
            "num_flagged_windows": 4,
            "num_windows_with_alerts": 2,
            "num_lines": 62,
            "num_alert_lines": 2,
            "num_alert_lines_missed": 1,
            "rankings": {
                MODEL: {"hit_at_1": 1.0, "hit_at_3": 1.0, "pr_auc": 0.9},
                "a random line": {"hit_at_1": 0.25, "hit_at_3": 0.5, "pr_auc": None},
            },
        },
        "calibration": calibration_content(),
        "data_card": card_content(),
        "stages": [stage_content("1", ["decoder"]), stage_content("3", ["projector", "decoder"])],
        "scoring": {
            "num_windows": 10,
            "num_distinct_windows": 9,
            "num_long_windows": 2,
            "num_windows_flagged_late": 1,
            "num_cut_lines": 3,
            "num_flagged_windows": 4,
            "num_localized_windows": 3,
            "num_windows_within_rounding": 3,
            "rounding": {
                "log_odds": 0.0816,
                "num_windows": 8,
                "by_way": {"in batches of four": 0.03, "in float32": 0.0816},
            },
            "scoring_seconds": 12.5,
            "localization_seconds": 2.5,
            "windows_a_second": 0.8,
            "peak_memory_bytes": 1_000_000_000,
            "peak_gpu_memory_bytes": 3_210_000_000,
        },
        "settings": {
            "name": "quick",
            "stages": [{"name": "1", "trains": ["decoder"], "num_epochs": 5}],
            "max_message_tokens": 100,
            "max_window_messages": 128,
            "patience": None,
            "question": HOSTILE,
            "seed": 0,
            "overrides": {"stages.1.num_epochs": 5, "question": HOSTILE},
        },
        "confusion": {
            "found": {"num_windows": 2, "num_shown": 2},
            "missed": {"num_windows": 2, "num_shown": 2},
            "false alarm": {"num_windows": 1, "num_shown": 1},
            "passed": {"num_windows": 5, "num_shown": 0},
        },
        "windows": windows,
        "versions": {"logllm": "0.1.0", "torch": "2.13.0"},
        "machine": {"system": "Linux", "processor": "x86_64", "num_cores": 2, "python": "3.11.7"},
    }


def bare_content() -> dict[str, Any]:
    """A report of normal windows alone, where all that may be null or empty is."""
    nothing = verdicts(0, 0, 0, 3) | {"false_alarms_per_10000": None}
    four = dict.fromkeys(("precision", "recall", "f1", "pr_auc"))
    subset = {"num_windows": 0, "num_anomalous": 0, "detectors": {MODEL: four}}
    found = small_content()
    card, scoring, settings = found["data_card"], found["scoring"], found["settings"]
    source = {"origin": "official", "location": "https://example.org/x.tar.gz", "is_checked": False}
    source |= {"log_files": card["source"]["log_files"], "label_file": None, "sha256": "cd" * 32}
    card |= {"source": source, "labels_of_dropped": None, "f1_ceiling": None}
    card["splits"]["validation"] |= {"num_windows": 0, "num_anomalous": 0, "longest_window": 0}
    kinds = ("found", "missed", "false alarm", "passed")
    return found | {
        **dict.fromkeys(("page", "licence", "citation", "seeds", "validation", "alerts", "lines")),
        "verdict": f"{MODEL} reaches F1 undefined, and PR-AUC undefined.",
        "detectors": {MODEL: detector(nothing, None, None)},
        "not_applicable": {},
        "differences": {"f1": None, "pr_auc": None},
        "subsets": {"unseen_sequences": subset, "unseen_message_sets": subset},
        "calibration": calibration_content((0,) * 10) | {"ece": None, "brier": None},
        "stages": [stage_content("1", ["decoder"], best_validation=None, num_resumes=0)],
        "scoring": scoring
        | {
            "windows_a_second": None,
            "num_windows_within_rounding": 0,
            "rounding": {"log_odds": 0.0, "num_windows": 0, "by_way": {"in batches of four": 0.0}},
        },
        "settings": settings | {"overrides": {}},
        "confusion": {kind: {"num_windows": 0, "num_shown": 0} for kind in kinds},
        "windows": [],
    }


def pictures_of(content: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The pictures of ten test windows, four of them anomalous, the last without a time."""
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
    scores = np.array([0.1, 0.2, 0.3, 0.9, 0.95, 0.8, 0.2, 0.1, 0.3, 0.4])
    is_anomalous = np.array([False] * 4 + [True] * 2 + [False] + [True] * 2 + [False])
    return charts.draw(
        report_of(content),
        is_anomalous=is_anomalous if content["windows"] else ~np.ones(10, dtype=bool),
        scores=scores,
        stages=[("1", folder)],
        times=[START + timedelta(minutes=5 * n) for n in range(9)] + [None],
        window_ids=range(10),
    )
