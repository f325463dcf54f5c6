"""What the alert rule makes of a course, as Prometheus evaluates it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.drifting.watch import Course

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml"
_ALERT = "DiffMaskExplanationsHaveShifted"


def drift_rule() -> dict[str, Any]:
    """Return the alert of deploy/."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    (rule,) = (
        rule
        for group in groups
        for rule in group["rules"]
        if rule.get("alert") == _ALERT
    )
    return dict(rule)


def complaint_of_rule(course: Course, rule: Mapping[str, Any]) -> str:
    """Return what is wrong with the alert, or nothing.

    It must not fire before the shift, and must fire at the end of it, if there is any.

    Args:
        course: What the gauges showed.
        rule: The alert.
    """
    firing = f'ALERTS{{alertname="{rule["alert"]}",alertstate="firing"}}'
    last = course.num_quiet - 1
    expectations: list[dict[str, Any]] = [
        {
            "expr": f"count(max_over_time({firing}[{course.num_quiet}m]))",
            "eval_time": f"{last}m",
            "exp_samples": [],
        }
    ]
    end = len(course.ratios["input"]) - 1
    if end > last:
        expectations.append(
            {
                "expr": f"count(count by (alertname) ({firing}))",
                "eval_time": f"{end}m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        )
    labels = 'model="m",version="1",state="all",figure="kept_share"'
    series = [
        {
            "series": f'diffmask_state_drift_ratio{{{labels},kind="{kind}"}}',
            "values": " ".join(f"{ratio:.4f}" for ratio in row),
        }
        for kind, row in course.ratios.items()
    ]
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": expectations,
    }
    return _promtool(rule, test)


def _promtool(rule: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    # The rule alone: the others have nothing to look at and take most of the time.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which("promtool", path=places)
    if program is None:
        raise SystemExit(
            "promtool is missing; `.ci/debian-tools ENVIRONMENT` installs it"
        )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "course.yml"
        content = {
            "rules.yml": {"groups": [{"name": "drift", "rules": [dict(rule)]}]},
            path.name: {
                "rule_files": ["rules.yml"],
                "evaluation_interval": "1m",
                "tests": [test],
            },
        }
        for name, value in content.items():
            text = yaml.safe_dump(value)
            path.with_name(name).write_text(text, encoding="utf-8")
        done = subprocess.run(
            [program, "test", "rules", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
    return "" if done.returncode == 0 else done.stdout + done.stderr
