"""The notebook of answers with sources, over a service."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.service.test_vectors_http import release_of, served
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.paths import StateDir

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "rag.ipynb"


@pytest.mark.slow
def test_the_passages_come_from_a_service(
    corpus: PreparedCorpus, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    import uvicorn
    from nbclient import NotebookClient

    release_of(StateDir(tmp_path), corpus, saved)
    server = uvicorn.Server(uvicorn.Config(served(StateDir(tmp_path)).app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        monkeypatch.setenv("TEXTHASH_URL", f"http://127.0.0.1:{port}")
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    finally:
        server.should_exit = True
        thread.join(30)
    shown = [
        output["data"]["text/plain"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "data" in output
    ]
    assert any(text.startswith("('Client',") and "random.choice" in text for text in shown)
