"""The pytest plugin that runs peft's suites on our configs and counts what became of each test."""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from conformance.cases import CONFIGS, config_of, our_rows
from conformance.skips import ALSO, EXCLUSIONS, SKIPS, STAND_INS, skips_of

_deselected: Counter[str] = Counter()


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let pytest parametrise the tests by our rows instead of peft's."""
    parametrize: Any = metafunc.parametrize

    def with_ours(argnames: Any, argvalues: Any, *args: Any, **kwargs: Any) -> None:
        parametrize(argnames, our_rows(argnames, argvalues), *args, **kwargs)

    metafunc.parametrize = with_ours  # type: ignore[method-assign]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of our configs."""
    _exclude_none()
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        config_name, name, _ = _described(item)
        if config_name is None and name not in ALSO:
            _deselected[_suite(item.nodeid)] += 1
            left_out.append(item)
        else:
            item.user_properties.append(("config", config_name or "all"))
            kept.append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Run a test under another method's name where it goes by names; turn a listed refusal into a skip."""
    config_name, name, case = _described(pyfuncitem)
    skips = skips_of(config_name or "", name, case)
    with pytest.MonkeyPatch.context() as patch:
        if name in STAND_INS and config_name is not None:
            ours = next(config_cls for config_cls in CONFIGS if config_cls.__name__ == config_name)
            for module in (pyfuncitem.module, sys.modules["tests.testing_common"]):
                patch.setattr(module, STAND_INS[name], ours)
        try:
            return (yield)
        except tuple({skip.error for skip in skips}) as refusal:
            pytest.skip(next(skip.reason for skip in skips if isinstance(refusal, skip.error)))


def _described(item: pytest.Item) -> tuple[str | None, str, str]:
    """The config of ours that a test is for, the name of its function, and its case."""
    name: str = getattr(item, "originalname", item.name)
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    case = parameters.get("test_name", parameters.get("model_id", ""))
    return config_of(parameters.values()), name, str(case)


def _exclude_none() -> None:
    """Replace what leaves out all methods but those that it names."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tests."):
            for function in EXCLUSIONS:
                if hasattr(module, function):
                    setattr(module, function, lambda *_: None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the numbers of deselected tests from a process of xdist to the one that reports."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["deselected"] = dict(_deselected)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the numbers of a process; each has collected all tests."""
    _deselected.update(
        dict(getattr(node, "workeroutput", {}).get("deselected", {})) if not _deselected else {}
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the counts by suite and config, then the reasons of what was not run."""
    ours = {skip.reason for skip in SKIPS}
    counts: dict[tuple[str, str], Counter[str]] = {}
    reasons: Counter[tuple[str, str, str]] = Counter()
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            config = dict(getattr(report, "user_properties", ())).get("config", "all")
            found = "failed" if outcome == "error" else outcome
            if outcome == "skipped":
                reason = str(report.longrepr[2]).removeprefix("Skipped: ")
                found = "skipped" if reason in ours else "not its"
                reasons[found, config, reason] += 1
            counts.setdefault((_suite(report.nodeid), config), Counter())[found] += 1
    columns = ("passed", "failed", "skipped", "not its")
    write = terminalreporter.write_line
    terminalreporter.section("conformance")
    write(f"{'suite':36}{'config':16}" + "".join(f"{column:>9}" for column in columns))
    for (suite, config), by_outcome in sorted(counts.items()):
        write(f"{suite:36}{config:16}" + "".join(f"{by_outcome[column]:9}" for column in columns))
    for suite, number in sorted(_deselected.items()):
        write(f"{suite:36}{number} tests that are written for another method's config are not run")
    write("")
    write("skipped: ended in the refusal that is due; not its: peft's test is for other methods")
    for (found, config, reason), number in sorted(reasons.items(), reverse=True):
        write(f"{found} {number:4}  {config}: {reason}")


def _suite(nodeid: str) -> str:
    return nodeid.split("::", 1)[0].rsplit("/", 1)[-1].removesuffix(".py")
