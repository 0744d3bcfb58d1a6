"""The search page over texts that are made to break out of it: all of them are shown as they are, and nothing runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest

from tests.service.browser import Page, browse_or_skip
from tests.service.conftest import SHARDS, LocalWriter
from tests.service.live import listening
from texthash.config import LimitsConfig
from texthash.index.releases.release import read_release
from texthash.paths import StateDir
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

pytestmark = pytest.mark.browser

RUN = "window.ran=1"
HOSTILE = [
    f"<img src=x onerror={RUN}>",
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"\"'><svg onload={RUN}>",
    f"' onmouseover='{RUN}",
    f"javascript:{RUN}",
    f"[link](javascript:{RUN}) `a <javascript:{RUN}>`_",
    f"{{{{constructor.constructor('{RUN}')()}}}} ${{{RUN}}} <%={RUN}%>",
    f"<!--<iframe srcdoc='<script>parent.{RUN}</script>'>-->",
    f".. raw:: html\n\n   <script>{RUN}</script>",
    "\u202egnp.exe\u202c \u2067\u200f",
    "&lt;b&gt; &#x3c;script&#x3e; %3Cscript%3E \\u003cscript\\u003e",
    "'; $(touch ran) `touch ran` \\'; touch ran; '",
]
DOCUMENTS: list[dict[str, Any]] = [
    {
        "id": hostile,
        "title": "" if number % 2 else hostile,
        "text": f"{hostile} sort the values of an array {hostile}",
        "labels": ["evil", hostile],
        "attributes": {"evil": hostile, "__proto__": hostile, "constructor": hostile, "toString": number},
    }
    for number, hostile in enumerate(HOSTILE)
]
# What a page is made of; anything else was made by a text.
INJECTED = """JSON.stringify([...document.querySelectorAll(
  'main img, main script, main iframe, main a:not(.error a), main svg:not(.bits):not(form svg), main [onerror],'
  + '[onload], [onmouseover], [srcdoc], [href^="javascript"]')].map(node => node.outerHTML))"""
ALL = f"document.querySelectorAll('.hit').length === {min(10, len(HOSTILE))}"


@pytest.fixture(scope="module")
def url(released: StateDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = StateDir(Path(shutil.copytree(released.root, tmp_path_factory.mktemp("hostile") / "home")))
    root = str(home.root)
    release = read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    app = make_app(coordinator, index_writes=IndexWriteService(home, coordinator, LocalWriter(root, "http://test")))
    with listening(app) as url:
        reply = httpx.put(f"{url}/v1/documents?wait=true", json={"documents": DOCUMENTS})
        assert reply.status_code == 200, reply.text
        coordinator.release = replace(coordinator.release, model=HOSTILE[0], corpus=HOSTILE[1], method=HOSTILE[2])
        yield url


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browse_or_skip() as page:
        yield page


@pytest.fixture(autouse=True, params=[False, True], ids=["policy", "without its policy"])
def _policy(page: Page, request: pytest.FixtureRequest) -> None:
    """The page is safe by what it does, also where a browser would not obey its policy."""
    page.call("Page.enable")
    page.call("Page.setBypassCSP", enabled=request.param)


def unharmed(page: Page) -> None:
    assert page.run("window.ran") is None
    assert json.loads(page.run(INJECTED)) == []


def texts(page: Page, selector: str) -> list[str]:
    return json.loads(page.run(f"JSON.stringify([...document.querySelectorAll({selector!r})].map(n => n.textContent))"))


def test_texts_titles_labels_attributes_and_ids_are_shown_as_they_are(page: Page, url: str) -> None:
    page.open(f"{url}/?q={quote_plus('sort the values of an array')}&label=evil&mode=keyword")
    page.wait(ALL)
    while page.run("!document.querySelector('#more').hidden && (document.querySelector('#more').click(), true)"):
        page.wait("document.querySelectorAll('.hit').length > 10")
    page.run("for (const button of document.querySelectorAll('.unfold')) button.click()")
    page.run("for (const part of document.querySelectorAll('details')) part.open = true")
    page.run("document.querySelector('#about-button').click()")
    unharmed(page)
    one_line = {hostile.split("\n")[0] for hostile in HOSTILE}
    titles = {title.split(" sort the values")[0] for title in texts(page, ".hit .title")}
    assert len(titles & one_line) == len(HOSTILE)
    assert set(HOSTILE) <= set(texts(page, ".hit .label"))
    values = {text.partition(" ")[2] for text in texts(page, ".hit .attribute")}
    assert set(HOSTILE) <= values
    assert set(texts(page, "#facet-groups .chip span")) & set(HOSTILE)
    facts = "\n".join(texts(page, "#about-facts dd"))
    assert all(hostile in facts for hostile in HOSTILE[:3])


@pytest.mark.parametrize("hostile", HOSTILE[:1] + HOSTILE[2:3] + HOSTILE[7:8] + HOSTILE[-1:])
def test_queries_filters_and_errors_are_shown_as_they_are(page: Page, url: str, hostile: str, tmp_path: Path) -> None:
    given = quote_plus(hostile)
    page.open(f"{url}/?q={given}")
    page.wait("document.querySelector('.hit, .note strong, .error')")
    unharmed(page)
    assert page.run("document.querySelector('#q').value") == hostile
    page.open(f"{url}/?q=sort&label={given}&mode=keyword")
    page.wait("document.querySelectorAll('.hit').length")
    assert texts(page, "#active .chip span")[0] == hostile
    unharmed(page)
    command = page.run("document.querySelector('#curl').textContent").replace("curl ", "printf '%s\\n' ", 1)
    shown = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert json.loads(shown.splitlines()[-1])["filter"] == {"labels": [hostile]}
    assert list(tmp_path.iterdir()) == [], "the shown command runs nothing else"
    page.open(f"{url}/?q=sort&where={quote_plus(json.dumps({hostile: {'eq': hostile}}))}")
    page.wait("document.querySelector('.error')")
    unharmed(page)
    page.open(f"{url}/?like={given}x")
    page.wait("document.querySelector('.error')")
    assert f"{hostile}x"[:20] in page.run("document.querySelector('.error').textContent")
    unharmed(page)


def test_a_text_that_turns_the_direction_turns_only_itself(page: Page, url: str) -> None:
    page.open(f"{url}/?q={quote_plus('sort the values')}&label=evil&mode=keyword")
    page.wait(ALL)
    assert page.run(
        "[...document.querySelectorAll('.title, .why mark')].every(n => getComputedStyle(n).unicodeBidi === 'isolate')"
    )


def test_a_text_has_the_direction_of_its_language_and_without_a_title_is_shown_once(page: Page, url: str) -> None:
    text = "\u062d\u0630\u0627\u0621 \u062c\u0631\u064a sort \u0623\u062d\u0645\u0631"
    own = {"labels": ["arabic"]}
    documents = [{"id": "ar/1", "text": text, **own}, {"id": "ar/2", "text": f"{text}\n\n{text} array", **own}]
    assert httpx.put(f"{url}/v1/documents?wait=true", json={"documents": documents}).status_code == 200
    page.open(f"{url}/?q=sort&label=arabic&mode=keyword")
    page.wait("document.querySelectorAll('.hit').length === 2")
    assert texts(page, ".hit .title") == [text, text]
    assert [shown.strip() for shown in texts(page, ".hit .text")] == [f"{text} array"]
    shown = "[...document.querySelectorAll('.hit h2, .hit .text p')]"
    assert page.run(f"{shown}.every(node => getComputedStyle(node).direction === 'rtl')")
    assert httpx.post(f"{url}/v1/documents/delete?wait=true", json={"ids": ["ar/1", "ar/2"]}).status_code == 200
