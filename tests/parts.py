"""Parts of the suite: tests beside each other, tests on clusters, and tests that need the machine for themselves.

``tests/run.sh`` gives each of the first two parts to several workers of pytest-xdist, and then runs the third in one
process, which takes over the reports of the others, so that pytest counts, lists and times all tests in its closing
lines. Only the first part imports all files, and it counts the tests of all parts. The variable TEXTHASH_TEST_PART
names the part, ``beside``, ``clusters`` or ``alone``, and TEXTHASH_TEST_REPORTS a directory for the reports.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

# Each worker has a cluster of its own; browsers and GPUs have time limits of their own.
CLUSTER_MARKS = ("ray", "browser", "gpu")
ALONE_MARKS = ("alone",)
_SHOWN = 25  # files whose time is printed
_SELECTED = "selected"  # file with the number of tests that a run without parts would have
# Files that take long. They are begun first, or one worker would be left with them at the end.
LONGEST = (
    "methods/test_methods.py",
    "test_two_processes.py",
    "deployment/test_promote.py",
    "tracking/test_outbox.py",
    "methods/test_two_workers.py",
    "index/test_full_disk.py",
    "docs/test_docs.py",
    "experiments/test_experiment.py",
    "io/test_release_in_a_bucket.py",
    "test_cli.py",
    "io/test_faulty_bucket.py",
    "io/test_train_in_a_bucket.py",
    "corpora/embeddings/test_onnx.py",
    "deploy/test_wheel.py",
    "service/test_openapi.py",
    "test_cli_index.py",
    "deployment/test_kept_writes.py",
    "io/test_places.py",
    "service/test_faulty_bucket.py",
    "experiments/grid/test_study_run.py",
    "index/test_document_copies.py",
    "tracking/test_secrets.py",
    # On clusters:
    "tuning/test_sweep.py",
    "training/test_distributed.py",
    "service/test_serve_writes.py",
    "service/test_serve.py",
    "service/test_lifecycle.py",
    "pipelines/test_full.py",
    "corpora/embeddings/test_distributed.py",
    "tuning/test_population.py",
    "pipelines/test_soak.py",
    "test_cluster.py",
    "models/test_on_ray.py",
    "service/test_page_browser.py",
)
_TESTS = Path(__file__).parent


def part_of(item: pytest.Item) -> str:
    """Name of the part in which a test is run."""
    if item.get_closest_marker("alone"):
        return "alone"
    return "clusters" if any(item.get_closest_marker(mark) for mark in CLUSTER_MARKS) else "beside"


def _without(path: Path, marks: tuple[str, ...]) -> bool | None:
    """Whether a file has none of the marks, so that it need not be imported; None: it is pytest's to decide."""
    if path.suffix != ".py" or not path.name.startswith("test_"):
        return None
    text = path.read_text(encoding="utf-8")
    return None if any(f"mark.{mark}" in text for mark in marks) else True


def _place(item: pytest.Item) -> int:
    name = item.path.relative_to(_TESTS).as_posix() if item.path.is_relative_to(_TESTS) else ""
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def _read_report(config: pytest.Config, line: str) -> pytest.TestReport:
    data = json.loads(line)
    if isinstance(data.get("longrepr"), list):  # where and why a test was skipped: pytest wants the tuple that it was
        data["longrepr"] = tuple(data["longrepr"])
    report: pytest.TestReport = config.hook.pytest_report_from_serializable(config=config, data=data)
    return report


def _read_reports(config: pytest.Config, path: Path) -> list[pytest.TestReport]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [_read_report(config, line) for line in lines]


def _slowest_files(reports: Mapping[str, Sequence[pytest.TestReport]]) -> list[tuple[float, str, str]]:
    """Return seconds, part and path of the test files that took longest, longest first."""
    seconds: Counter[tuple[str, str]] = Counter()
    for part, found in reports.items():
        for report in found:
            seconds[part, report.nodeid.partition("::")[0]] += report.duration
    return [(spent, part, name) for (part, name), spent in seconds.most_common(_SHOWN)]


class _Early:
    """Keeps the tests of one of the first parts, and writes their reports to a file, a line each."""

    def __init__(self, config: pytest.Config, part: str, folder: Path) -> None:
        self.config, self.part, self.path = config, part, folder / part
        if not hasattr(config, "workerinput"):  # in the process that collects the reports of all workers
            folder.mkdir(exist_ok=True)
            self.path.write_text("", encoding="utf-8")

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return _without(collection_path, CLUSTER_MARKS) if self.part == "clusters" else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.part == "beside":
            # Each worker collects all; a write of a few digits is whole.
            self.path.with_name(_SELECTED).write_text(str(len(items)), encoding="utf-8")
        items[:] = sorted((item for item in items if part_of(item) == self.part), key=_place)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(self.config, "workerinput"):
            data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(data, default=str) + "\n")


class _Last:
    """Keeps the tests of the last part, and adds the reports of the others to theirs.

    The run fails if all parts together are not as many tests as one run without parts would have.
    """

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self.config, self.alone = config, 0
        counted = folder / _SELECTED
        self.selected = int(counted.read_text(encoding="utf-8")) if counted.exists() else 0
        self.reports = {part: _read_reports(config, folder / part) for part in ("beside", "clusters")}
        self.early = {part: len({report.nodeid for report in found}) for part, found in self.reports.items()}

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return _without(collection_path, ALONE_MARKS)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if part_of(item) == "alone"]
        self.alone = len(items)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Decide after other plugins, some of which put the status back that a part without tests had at first."""
        yield
        early = sum(self.early.values())
        if early + self.alone != self.selected:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and early:
            session.exitstatus = pytest.ExitCode.OK

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for report in [report for found in self.reports.values() for report in found]:
            category = self.config.hook.pytest_report_teststatus(report=report, config=self.config)[0]
            terminalreporter.stats.setdefault(category, []).append(report)
        beside, clusters = self.early["beside"], self.early["clusters"]
        terminalreporter.section("parts")
        terminalreporter.write_line(
            f"{beside} tests beside each other, {clusters} on clusters, {self.alone} alone; "
            f"a run without parts: {self.selected}"
        )
        terminalreporter.write_line(f"the {_SHOWN} files that took longest, with set-up and tear-down:")
        for seconds, part, name in _slowest_files(self.reports):
            terminalreporter.write_line(f"{seconds:7.1f} s  {name} ({part})")


def pytest_configure(config: pytest.Config) -> None:
    # Variables, because workers inherit them, and because pytest would read an option that only a conftest defines as
    # the path of a test.
    part = os.environ.get("TEXTHASH_TEST_PART")
    if part:
        folder = Path(os.environ["TEXTHASH_TEST_REPORTS"])
        config.pluginmanager.register(_Last(config, folder) if part == "alone" else _Early(config, part, folder))
