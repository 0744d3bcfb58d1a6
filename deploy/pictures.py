"""Take screenshots of MLflow's pages about a finished sweep, or of the search page of a service.

The pages of MLflow are those of the runs, the curves, the report and the registry.

    python deploy/pictures.py                       # the newest sweep under TEXTHASH_HOME
    python deploy/pictures.py --into /tmp/pictures
    python deploy/pictures.py --service http://127.0.0.1:8000

Starts and ends a headless Chromium, and for MLflow a server of that store on a free port. Each picture is made small
enough for a repository. The exit status is 1 if a page does not show what it should.
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
from texthash.cluster import free_port  # noqa: E402
from texthash.errors import TexthashError  # noqa: E402
from texthash.paths import StateDir, resolve_home  # noqa: E402
from texthash.progress import log_line  # noqa: E402

WIDTH, HEIGHT = 1280, 720
SEARCH_WIDTH, SEARCH_HEIGHT = 1000, 760
QUERY = "read a csv file into a table"
COLOURS = 160
MOST_BYTES = 150_000
# Local storage that hides MLflow's assistant panel, which takes a third of the width.
UNCLUTTERED = {"mlflow.assistant.panelOpen_v1": "false", "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}
# Expression of the line above an artifact that shows its local path.
LOCAL_PATH = "[...document.querySelectorAll('span, div')].filter(n => n.innerText?.startsWith('Path: file:')).at(-1)"
CURVE = "^val/p_at_100$"
COLUMNS = ("fate", "val/p_at_100", "test/p_at_100", "method.params.learning_rate", "training.seed")


def main() -> int:
    """Take all pictures and return the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--home", help="state directory; default: TEXTHASH_HOME, else .texthash here")
    options.add_argument("--service", metavar="URL", help="service whose search page to take, instead of MLflow")
    options.add_argument("--into", type=Path, default=ROOT / "docs" / "pictures", help="directory of the pictures")
    arguments = options.parse_args()
    executable = chromium_path()
    if executable is None:
        log_line("error: Chromium was not found; install it (apt-get install chromium) and run this again.")
        return 1
    try:
        arguments.into.mkdir(parents=True, exist_ok=True)
        if arguments.service is not None:
            with browse(executable) as page:
                _take_search(page, arguments.service.rstrip("/"), arguments.into)
            return 0
        home = resolve_home(arguments.home)
        experiment, parent, model = _newest_sweep(home)
        with _server(home) as address, browse(executable) as page:
            _take(page, address, experiment, parent, model, arguments.into)
    except (TexthashError, AssertionError) as error:
        log_line(f"error: {error}")
        return 1
    return 0


def _newest_sweep(home: StateDir) -> tuple[str, str, str]:
    """Return the experiment and the run of the newest finished sweep, and the name of its registered model."""
    client = MlflowClient(home.tracking_uri, home.tracking_uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    trials = client.search_runs(experiments, "tags.kind = 'trial'", order_by=["start_time DESC"], max_results=1)
    if not trials:
        raise TexthashError(f"{home.tracking_uri} holds no sweep.", "texthash tune nash --corpus pydoc --trials 8")
    parent = trials[0].data.tags["mlflow.parentRunId"]
    query = f"tags.kind = 'model' and tags.`mlflow.parentRunId` = '{parent}'"
    finals = client.search_runs([trials[0].info.experiment_id], query)
    for name in client.search_registered_models():
        for alias, version in name.aliases.items():
            run_id = client.get_model_version(name.name, version).run_id
            if alias == "champion" and run_id in {run.info.run_id for run in finals}:
                return trials[0].info.experiment_id, parent, name.name
    raise TexthashError(f"the sweep {parent} has no champion.", "let it finish, with tracking.promote=always.")


@contextmanager
def _server(home: StateDir) -> Iterator[str]:
    """Run MLflow over the store of a state directory for the block; yields its URL."""
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
                        raise TexthashError(
                            f"MLflow did not start on {address}.", "run mlflow server to see the reason."
                        ) from None
                    time.sleep(0.3)
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def _take(page: Page, address: str, experiment: str, parent: str, model: str, into: Path) -> None:
    page.open(f"{address}/#/experiments/{experiment}/runs", width=WIDTH, height=HEIGHT)
    for key, value in UNCLUTTERED.items():
        page.run(f"localStorage.setItem('{key}', '{value}')")
    page.run("location.reload()")
    _wait_for(page, "[data-component-id$='runnamecellrenderer.tsx_46']")
    page.run("document.querySelector('[aria-label=\"Toggle sidebar\"]').click()")
    _columns(page)
    page.run("document.querySelector('[data-component-id$=\"runnamecellrenderer.tsx_46\"]').click()")
    page.wait("document.querySelectorAll('.ag-center-cols-container [role=row]').length > 3")
    _picture(page, into / "mlflow-runs.png", "fate")

    page.open(f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART", width=WIDTH, height=HEIGHT)
    _write(page, "Search metric charts", CURVE)
    page.wait("document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length > 3", 60)
    _picture(page, into / "mlflow-curves.png", "p_at_100")

    page.open(f"{address}/#/experiments/{experiment}/runs/{parent}/artifacts", width=WIDTH, height=HEIGHT)
    report = "[...document.querySelectorAll('[class*=node] *, li *')].filter(n => n.innerText === 'report.html').at(-1)"
    page.wait(report, 60)
    _click(page, report)
    _wait_for(page, "iframe")
    page.run(f"(line => line && line.remove())({LOCAL_PATH})")
    _picture(page, into / "mlflow-report.png", "report.html")

    page.open(f"{address}/#/models/{model}", width=WIDTH, height=HEIGHT)
    page.wait("document.body.innerText.includes('champion')")
    _picture(page, into / "mlflow-registry.png", "champion")


def _take_search(page: Page, url: str, into: Path) -> None:
    page.open(f"{url}/?", width=SEARCH_WIDTH, height=SEARCH_HEIGHT)
    page.type(QUERY)
    page.wait("document.querySelectorAll('.hit').length > 2")
    _picture(page, into / "page.png", "Found by")


def _columns(page: Page) -> None:
    """Show only the columns of a sweep in the table of runs."""
    page.run("document.querySelector('[data-testid=column-selection-dropdown]').click()")
    _wait_for(page, "[data-component-id='mlflow.experiment_page.runs_table.column_selector'] input[placeholder]")
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
    """Write a text into an input field."""
    _wait_for(page, f"[placeholder='{placeholder}']")
    page.run(
        f"(() => {{ const field = document.querySelector(`[placeholder='{placeholder}']`);"
        f"Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, '{text}');"
        "field.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )


def _click(page: Page, expression: str) -> None:
    """Click in the middle of an element with the mouse."""
    box = page.run(f"(r => ({{x: r.x + r.width / 2, y: r.y + r.height / 2}}))(({expression}).getBoundingClientRect())")
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **box)


def _wait_for(page: Page, selector: str) -> None:
    page.wait(f"document.querySelector(`{selector}`)", 60)


def _picture(page: Page, path: Path, expected: str) -> None:
    """Save a screenshot in few colours, once the page has stopped moving.

    Raises:
        TexthashError: The page does not contain the expected text, or the picture is too large.
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
