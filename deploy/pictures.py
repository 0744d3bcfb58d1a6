"""Take pictures: of MLflow's pages about a finished search (its runs, their curves, its report, the registry), or of
the search page of a service.

    python deploy/pictures.py                       # of the newest search under TEXTHASH_HOME
    python deploy/pictures.py --into /tmp/pictures
    python deploy/pictures.py --service http://127.0.0.1:8000

Starts a headless Chromium, for MLflow a server of its own over that store on a free port, and ends them. Each picture
is made small enough for a repository. Exit status 1 where a page does not show what it should.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from mlflow import MlflowClient
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "deploy")]

from probes import HOST, tool  # noqa: E402

from tests.service.browser import Page, browse, chromium_path  # noqa: E402
from texthash.errors import TexthashError  # noqa: E402
from texthash.paths import StateDir, resolve_home  # noqa: E402
from texthash.progress import log_line  # noqa: E402
from texthash.service.ports import free_port  # noqa: E402

WIDTH, HEIGHT = 1280, 720
SEARCH_WIDTH, SEARCH_HEIGHT = 1000, 760
QUERY = "read a csv file into a table"
COLOURS = 160
MOST_BYTES = 150_000
# The store's own page of help, and its side bar, take a third of the width.
UNCLUTTERED = {"mlflow.assistant.panelOpen_v1": "false", "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}
# The line above an artifact that says where it lies on this machine.
PLACE = "[...document.querySelectorAll('span, div')].filter(n => n.innerText?.startsWith('Path: file:')).at(-1)"
CURVE = "^val/p_at_100$"
COLUMNS = ("fate", "val/p_at_100", "test/p_at_100", "method.params.learning_rate", "training.seed")


def main() -> int:
    """Take all pictures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--home", help="state directory; default: TEXTHASH_HOME, else .texthash here")
    options.add_argument("--service", metavar="URL", help="of the search page of the service there, not of MLflow")
    options.add_argument("--into", type=Path, default=ROOT / "docs" / "pictures", help="directory of the pictures")
    arguments = options.parse_args()
    executable = chromium_path()
    if executable is None:
        log_line("error: there is no Chromium; install it (apt-get install chromium) and run this again.")
        return 1
    try:
        arguments.into.mkdir(parents=True, exist_ok=True)
        if arguments.service is not None:
            with browse(executable) as page:
                _take_search(page, arguments.service.rstrip("/"), arguments.into)
            return 0
        home = resolve_home(arguments.home)
        experiment, study, model = _subjects(home)
        with _server(home) as address, browse(executable) as page:
            _take(page, address, experiment, study, model, arguments.into)
    except (TexthashError, AssertionError) as error:
        log_line(f"error: {error}")
        return 1
    return 0


def _subjects(home: StateDir) -> tuple[str, str, str]:
    """The experiment and the run of the newest finished search, and the name under which its model is registered."""
    client = MlflowClient(home.tracking_uri, home.tracking_uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    trials = client.search_runs(experiments, "tags.kind = 'trial'", order_by=["start_time DESC"], max_results=1)
    if not trials:
        raise TexthashError(f"no search is in {home.tracking_uri}.", "texthash tune nash --corpus pydoc --trials 8")
    parent = trials[0].data.tags["mlflow.parentRunId"]
    query = f"tags.kind = 'model' and tags.`mlflow.parentRunId` = '{parent}'"
    finals = client.search_runs([trials[0].info.experiment_id], query)
    for name in client.search_registered_models():
        for alias, version in name.aliases.items():
            run_id = client.get_model_version(name.name, version).run_id
            if alias == "champion" and run_id in {run.info.run_id for run in finals}:
                return trials[0].info.experiment_id, parent, name.name
    raise TexthashError(f"the search {parent} has no champion.", "let it end, with tracking.promote=always.")


@contextmanager
def _server(home: StateDir) -> Iterator[str]:
    """MLflow over the store of a state directory."""
    port = free_port()
    command = [tool("mlflow"), "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", home.tracking_uri]
    with tempfile.TemporaryDirectory(prefix="texthash-mlflow-") as scratch:
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            address, deadline = f"http://{HOST}:{port}", time.monotonic() + 120
            while True:
                try:
                    httpx.get(f"{address}/health", timeout=2).raise_for_status()
                    break
                except httpx.HTTPError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise TexthashError(f"MLflow did not start on {address}.", "mlflow server tells why.") from None
                    time.sleep(0.3)
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def _take(page: Page, address: str, experiment: str, study: str, model: str, into: Path) -> None:
    page.open(f"{address}/#/experiments/{experiment}/runs", width=WIDTH, height=HEIGHT)
    for key, value in UNCLUTTERED.items():
        page.run(f"localStorage.setItem('{key}', '{value}')")
    page.run("location.reload()")
    _shown(page, "[data-component-id$='runnamecellrenderer.tsx_46']")
    page.run("document.querySelector('[aria-label=\"Toggle sidebar\"]').click()")
    _columns(page)
    page.run("document.querySelector('[data-component-id$=\"runnamecellrenderer.tsx_46\"]').click()")
    page.wait("document.querySelectorAll('.ag-center-cols-container [role=row]').length > 3")
    _picture(page, into / "mlflow-runs.png", "fate")

    page.open(f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART", width=WIDTH, height=HEIGHT)
    _write(page, "Search metric charts", CURVE)
    page.wait("document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length > 3", 60)
    _picture(page, into / "mlflow-curves.png", "p_at_100")

    page.open(f"{address}/#/experiments/{experiment}/runs/{study}/artifacts", width=WIDTH, height=HEIGHT)
    report = "[...document.querySelectorAll('[class*=node] *, li *')].filter(n => n.innerText === 'report.html').at(-1)"
    page.wait(report, 60)
    _click(page, report)
    _shown(page, "iframe")
    page.run(f"(line => line && line.remove())({PLACE})")
    _picture(page, into / "mlflow-report.png", "report.html")

    page.open(f"{address}/#/models/{model}", width=WIDTH, height=HEIGHT)
    page.wait("document.body.innerText.includes('champion')")
    _picture(page, into / "mlflow-registry.png", "champion")


def _take_search(page: Page, url: str, into: Path) -> None:
    page.open(f"{url}/?", width=SEARCH_WIDTH, height=SEARCH_HEIGHT)
    page.type(QUERY)
    page.wait("document.querySelectorAll('.hit').length > 2")
    _picture(page, into / "page.png", "bits differ")


def _columns(page: Page) -> None:
    """Show what a search is about in the table of runs, and nothing else."""
    page.run("document.querySelector('[data-testid=column-selection-dropdown]').click()")
    _shown(page, "[data-component-id='mlflow.experiment_page.runs_table.column_selector'] input[placeholder]")
    for name in ("Dataset", "Source", "Models"):
        _toggle(page, name)
    for name in COLUMNS:
        _write(page, "Search columns", name)
        page.wait(_node(name))
        _toggle(page, name)
    page.run("document.querySelector('[data-testid=column-selection-dropdown]').click()")


def _node(name: str) -> str:
    return f"[...document.querySelectorAll('[class*=tree-treenode]')].find(node => node.innerText.trim() === '{name}')"


def _toggle(page: Page, name: str) -> None:
    page.run(f"{_node(name)}.querySelector('[class*=tree-checkbox]').click()")


def _write(page: Page, placeholder: str, text: str) -> None:
    """Put a text into a field."""
    _shown(page, f"[placeholder='{placeholder}']")
    page.run(
        f"(() => {{ const field = document.querySelector(`[placeholder='{placeholder}']`);"
        f"Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, '{text}');"
        "field.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )


def _click(page: Page, expression: str) -> None:
    """Click in the middle of an element, as a mouse does."""
    box = page.run(f"(r => ({{x: r.x + r.width / 2, y: r.y + r.height / 2}}))(({expression}).getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **box)


def _shown(page: Page, selector: str) -> None:
    page.wait(f"document.querySelector(`{selector}`)", 60)


def _picture(page: Page, path: Path, expected: str) -> None:
    """Keep what is shown, once it has stopped moving, in few colours.

    Raises:
        TexthashError: the page does not hold what it should, or the picture is too large.
    """
    page.wait(f"document.body.innerText.includes('{expected}')", 60)
    time.sleep(3)
    page.screenshot(path)
    Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise TexthashError(f"{path} has {size:,} bytes.", f"take fewer than {COLOURS} colours.")
    log_line(f"{path}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
