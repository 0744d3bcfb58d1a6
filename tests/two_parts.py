"""Two parts of the suite: tests that may run beside each other, and those that need the machine for themselves.

``tests/run.sh`` gives the first part to several workers of pytest-xdist, and then runs the second in one process, which
takes over the reports of the first, so that pytest counts, lists and times all tests in its closing lines. The variable
TEXTHASH_TEST_PART names the part, ``beside`` or ``alone``, and TEXTHASH_TEST_REPORTS the file of the reports.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

# Rooms whose tests start tracking servers, programs or environments; elsewhere such files have a mark.
ALONE_ROOMS = ("deploy", "docs", "pipelines", "tracking")
ALONE_MARKS = ("alone", "ray", "browser", "gpu")
_TESTS = Path(__file__).parent


def needs_the_machine(item: pytest.Item) -> bool:
    """Whether a test has to run while no other does."""
    room = item.path.relative_to(_TESTS).parts[0] if item.path.is_relative_to(_TESTS) else ""
    return room in ALONE_ROOMS or any(item.get_closest_marker(mark) for mark in ALONE_MARKS)


def _read_report(config: pytest.Config, line: str) -> pytest.TestReport:
    data = json.loads(line)
    if isinstance(data.get("longrepr"), list):  # where and why a test was skipped: pytest wants the tuple that it was
        data["longrepr"] = tuple(data["longrepr"])
    report: pytest.TestReport = config.hook.pytest_report_from_serializable(config=config, data=data)
    return report


def _keep(items: list[pytest.Item], part: str) -> None:
    items[:] = [item for item in items if needs_the_machine(item) == (part == "alone")]


class _Beside:
    """Keeps the tests that may run beside each other, and writes their reports to a file, a line each."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self.config, self.path = config, path
        if not hasattr(config, "workerinput"):  # in the process that collects the reports of all workers
            path.write_text("", encoding="utf-8")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        _keep(items, "beside")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(self.config, "workerinput"):
            data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(data, default=str) + "\n")


class _Alone:
    """Keeps the other tests, and adds the reports of the first part to theirs.

    The run fails if both parts together are not as many tests as one run without parts would have.
    """

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self.config, self.selected, self.alone = config, 0, 0
        lines = path.read_text(encoding="utf-8").splitlines()
        self.reports = [_read_report(config, line) for line in lines]
        self.beside = len({report.nodeid for report in self.reports})

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.selected = len(items)
        _keep(items, "alone")
        self.alone = len(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.beside + self.alone != self.selected:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.beside:
            session.exitstatus = pytest.ExitCode.OK

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for report in self.reports:
            category = self.config.hook.pytest_report_teststatus(report=report, config=self.config)[0]
            terminalreporter.stats.setdefault(category, []).append(report)
        counts = f"{self.beside} tests beside each other, {self.alone} alone; a run without parts: {self.selected}"
        terminalreporter.section("parts")
        terminalreporter.write_line(counts)


def pytest_configure(config: pytest.Config) -> None:
    # Variables, because workers inherit them, and because pytest would read an option that only a conftest defines as
    # the path of a test.
    part = os.environ.get("TEXTHASH_TEST_PART")
    if part:
        kind = {"beside": _Beside, "alone": _Alone}[part]
        config.pluginmanager.register(kind(config, Path(os.environ["TEXTHASH_TEST_REPORTS"])))
