"""The report of a study: one self-contained HTML page."""

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from amplitune.report.aggregate import method_order, task_tables
from amplitune.report.columns import METRICS
from amplitune.report.limits import what_cannot_be_said
from amplitune.report.opening import what_was_found
from amplitune.report.roles import roles_of
from amplitune.report.runs import run_lines, trial_lines
from amplitune.report.sections import groups, task_section
from amplitune.report.setting import what_was_run
from amplitune.report.styles import method_styles
from amplitune.report.tables import write_mean, write_range
from amplitune.report.verdicts import MIXED, across_rows, metric_label
from amplitune.study.atomic import replacing
from amplitune.study.statistics.findings import Findings, findings
from amplitune.study.stored.provenance import Provenance, provenance
from amplitune.study.stored.results import BASE, LOWER_IS_BETTER, Results


def build_report(results: Results, path: Path, found: Findings | None = None) -> None:
    """Write the report of a study as one HTML file that needs nothing else, no network among it.

    The page is complete without scripts; its one script sorts tables. The same results give the same bytes.

    Args:
        results: what `amplitune.study.stored.results.load_results` returned.
        path: the file to write, usually report.html in the study's folder; replaced whole or not at all.
        found: what the statistics say of the results, if that is computed already.
    """
    page = render_page(results, findings(results) if found is None else found)
    with replacing(Path(path)) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def render_page(results: Results, found: Findings) -> str:
    """Render the report of a study as HTML."""
    table, trials = results.table, results.trials
    methods = method_order(results)
    roles = roles_of(results.study, methods)
    references = [method for method, role in roles.items() if role.kind == "reference"]
    styles = method_styles([m for m in methods if m != BASE], roles)
    origin = provenance(table["environment"], results.environments)
    sections = [
        task_section(results, found, trials, task, styles, index)
        for index, task in enumerate(task_tables(results), start=1)
    ]
    primary = {
        str(task): str(metric) for task, metric in zip(table["task"], table["primary_metric"], strict=True)
    }
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "write_mean": write_mean,
        "write_range": write_range,
        "metric_label": metric_label,
        "groups": groups,
        "lower": LOWER_IS_BETTER,
        "metrics": METRICS,
        "mixed_mark": MIXED,
        "colours": {method: style.variable for method, style in styles.items()},
        "roles": roles,
        "hollow": {method for method, style in styles.items() if style.hollow},
    }
    script = _read("page.js")
    return environment.get_template("page.html.j2").render(
        css=Markup(_read("page.css")),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        name=results.study.get("name") or "Study",
        description=results.study.get("description") or "",
        found=what_was_found(found, bool(results.study.get("tuning")), references) if len(table) else [],
        limits=what_cannot_be_said(found, results, trials, origin) if len(table) else [],
        setting=what_was_run(results, len(trials)),
        baseline=found.baseline,
        notes=found.notes,
        sections=sections,
        across=across_rows(found),
        failed=[run for section in sections for row in section.table.rows for run in row.failed],
        runs=run_lines(results, origin),
        trials=trial_lines(trials, primary),
        environments=_environments(results, origin),
    )


def _read(name: str) -> str:
    return resources.files("amplitune.report").joinpath(name).read_text(encoding="utf-8")


def _environments(results: Results, origin: Provenance) -> list[dict[str, Any]]:
    """The environments, the usual one first, each with what sets it apart and the rows made in it."""
    keys = sorted(results.environments, key=lambda key: key != origin.usual)
    return [_environment(results, origin, key) for key in keys]


def _environment(results: Results, origin: Provenance, key: str) -> dict[str, Any]:
    content = results.environments[key]
    packages = content.get("packages")
    facts = [
        (name.replace("_", " "), str(value))
        for name, value in content.items()
        if name != "packages" and value is not None and not isinstance(value, dict | list)
    ]
    made = results.table[results.table["environment"] == key]
    return {
        "key": key,
        "rows": len(made),
        "named": [
            f"{task}/{method}/seed-{seed}"
            for task, method, seed in zip(made["task"], made["method"], made["seed"], strict=True)
        ],
        "odd": [one.text for one in origin.odd.get(key, ())],
        "dirty": key in origin.dirty,
        "facts": facts,
        "packages": list(packages.items()) if isinstance(packages, Mapping) else [],
    }
