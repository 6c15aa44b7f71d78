"""The pages on metrics and ``doctor`` say what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from antigravity2api.metrics import METRICS, MOST_MODELS, MOST_SERIES, STATES
from antigravity2api.prometheus import BOUNDS

ROOT = Path(__file__).resolve().parents[2]
METRICS_PAGE = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
DOCTOR_PAGE = (ROOT / "docs/doctor.md").read_text(encoding="utf-8")


def test_the_page_lists_every_metric_with_its_type_and_labels() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([^|]*)\|", METRICS_PAGE, re.MULTILINE)
    documented = [(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]
    assert documented == [(metric.name, metric.type, metric.labels) for metric in METRICS.values()]


def test_metrics_named_in_examples_exist() -> None:
    named = set(re.findall(r"antigravity2api_([a-z_]+)", METRICS_PAGE)) - {""}
    histograms = {name for name, metric in METRICS.items() if metric.type == "histogram"}
    assert named <= {*METRICS, *(f"{name}_bucket" for name in histograms)}


def test_states_buckets_and_limits_are_as_documented() -> None:
    assert set(STATES) <= set(re.findall(r"`(\w+)`", METRICS_PAGE))
    assert f"in seconds: {', '.join(f'{bound:g}' for bound in BOUNDS)}." in METRICS_PAGE
    assert f"at most {MOST_MODELS} of them" in METRICS_PAGE and f"with {MOST_SERIES} combinations" in METRICS_PAGE


def test_the_page_lists_every_check_of_doctor() -> None:
    files = ("checks", "credential_checks", "cli/doctor")
    source = "".join((ROOT / f"src/antigravity2api/{name}.py").read_text(encoding="utf-8") for name in files)
    made = set(re.findall(r"""(?:ok|problem|warning|skipped|verdict)\(\s*"([a-z ]+)",""", source))
    made |= set(re.findall(r"""check(?:, \w+)? = "([a-z ]+)",""", source))
    listed = set(re.findall(r"^\| `([a-z ]+)` \|", DOCTOR_PAGE, re.MULTILINE))
    assert len(listed) > 10
    assert made - {"network", "everything else"} == listed
