"""The search page in a browser, over a service without Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import pytest

from tests.service.browser import Page, browse_or_skip
from tests.service.conftest import SHARDS, Asked, LocalWriter
from tests.service.live import listening
from tests.service.test_attributes_http import DOCUMENTS
from texthash.config import LimitsConfig
from texthash.index.releases.release import read_release
from texthash.paths import StateDir
from texthash.service.chance import random_texts
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app
from texthash.service.index_writes import IndexWriteService
from texthash.service.replicas.encoder import LocalEncoder
from texthash.service.replicas.shard import ShardServer

pytestmark = pytest.mark.browser
QUERY = "sorting the values of arrays"
HITS = "document.querySelectorAll('.hit').length === 10"
DOCSTRING = """Sort a :class:`~numpy.ndarray` by ``kind``, see `numpy docs <http://x.y>`_.

Wrapped
line, **not** a *list*, with *args.

Parameters
----------
a : array_like
    Array to be `sorted`.
*args, **kwargs
    Passed on.

Returns:
    The array, which is
    sorted.

.. versionadded:: 1.2

:param str axis: the axis
:raises ValueError: if <script>alert(1)</script>

Use it so::

    x = 1
    y = 2

>>> sort([2, 1])
[1, 2]
"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browse_or_skip() as page:
        yield page
        assert page.failures == []


@pytest.fixture(scope="module")
def url(asked: Asked) -> Iterator[str]:
    with listening(asked.app) as url:
        yield url


def answer(url: str, text: str, **members: object) -> dict:
    body = {"queries": [{"text": text}], "fields": ["title", "text", "labels"], "highlight": True, **members}
    reply = httpx.post(f"{url}/v1/search", json=body).json()
    return reply["results"][0]


def texts(page: Page, selector: str) -> list[str]:
    return json.loads(page.run(f"JSON.stringify([...document.querySelectorAll({selector!r})].map(n => n.textContent))"))


def choose(page: Page, mode: str) -> None:
    page.run(f"document.querySelector('[name=mode][value={mode}]').click()")


def test_the_switch_chooses_how_to_search_and_stays_in_the_address(page: Page, url: str) -> None:
    page.open(f"{url}/?q={quote_plus(QUERY)}")
    page.wait(HITS)
    page.wait("!document.querySelector('#modes').hidden")
    assert page.run("new URLSearchParams(location.search).get('mode')") is None
    for mode in ("keyword", "semantic", "hybrid"):
        choose(page, mode)
        expected = [hit["document"]["title"] for hit in answer(url, QUERY, mode=mode)["hits"]]
        titles = "JSON.stringify([...document.querySelectorAll('.title')].map(n => n.textContent))"
        page.wait(f"{titles} === {json.dumps(json.dumps(expected, separators=(',', ':')))}")
        assert page.run("new URLSearchParams(location.search).get('mode')") == (None if mode == "hybrid" else mode)
    page.open(f"{url}/?q={quote_plus(QUERY)}&mode=keyword")
    page.wait(HITS)
    assert page.run("document.querySelector('[name=mode]:checked').value") == "keyword"
    assert all(why.startswith("Found by words: ") for why in texts(page, ".why"))
    assert texts(page, ".hit svg.bits") == []


def test_hits_say_in_words_why_they_were_found_and_how_behind_that(page: Page, url: str) -> None:
    page.open(f"{url}/?q={quote_plus(QUERY)}")
    page.wait(HITS)
    hits = answer(url, QUERY)["hits"]
    by = [
        "Found by "
        + " and ".join(name for name, own in (("words", hit["keyword"]), ("meaning", hit["semantic"])) if own)
        for hit in hits
    ]
    assert [why.split(":")[0] for why in texts(page, ".why")] == by
    assert page.run(
        "[...document.querySelectorAll('.hit .how')].every(how => !how.open && !how.lastChild.checkVisibility())"
    )
    page.run("document.querySelector('.how summary').click()")
    page.wait("document.querySelector('.how').lastChild.checkVisibility()")
    shown = page.run("document.querySelector('.how').innerText")
    assert f"{hits[0]['distance']} of 32 bits differ" in shown
    assert f"both together give the score {hits[0]['score']:.3f}" in shown


@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
def test_the_words_that_match_are_marked_whole_and_in_identifiers(page: Page, url: str, mode: str) -> None:
    page.open(f"{url}/?q={quote_plus(QUERY)}&mode={mode}")
    page.wait(HITS)
    for place, hit in enumerate(answer(url, QUERY, mode=mode)["hits"]):
        page.run(f"document.querySelectorAll('.hit .unfold')[{place}]?.click()")
        marked = set(texts(page, f".hit[data-place='{place}'] :is(.title, .text) mark"))
        assert marked <= set(hit["matches"])
        assert bool(marked) == bool(hit["matches"])
    places = "placesOf('read_csv TextFileReader csvs 東京都', new Set(['csv', 'File', '東京']))"
    assert page.run(f"JSON.stringify({places})") == "[[5,8],[13,17],[29,31]]"


def test_an_index_without_words_has_no_switch_and_says_why(
    page: Page, coordinator: Callable[[LimitsConfig], Coordinator]
) -> None:
    old = coordinator(LimitsConfig())
    old.release = replace(old.release, keywords=None)
    with listening(make_app(old)) as url:
        page.open(f"{url}/?q={quote_plus(QUERY)}&mode=keyword")
        page.wait(HITS)
        assert page.run("document.querySelector('#modes').hidden")
        assert "by meaning only" in page.run("document.querySelector('#mode-hint').innerText")
        assert set(texts(page, ".why")) == {"Found by meaning"}


def chips(page: Page, selector: str) -> dict[str, int]:
    """Text and count of each chip."""
    parts = f"[...document.querySelectorAll({selector!r})].map(chip => [...chip.children].map(n => n.textContent))"
    return {text: int(count.replace(",", "")) for text, count in json.loads(page.run(f"JSON.stringify({parts})"))}


def test_labels_of_all_documents_narrow_the_search_down_and_a_chip_takes_it_back(page: Page, url: str) -> None:
    body = {"facets": {"labels": {"limit": 200}}}
    labels = httpx.post(f"{url}/v1/facets", json=body).json()["counts"]["labels"]["values"]
    counts = {one["value"]: one["count"] for one in labels}
    page.open(f"{url}/?q={quote_plus(QUERY)}")
    page.wait(HITS)
    shown = chips(page, "#facet-groups .chip")
    assert shown.items() <= counts.items()
    found = {label for hit in answer(url, QUERY)["hits"] for label in hit["document"]["labels"]}
    assert next(iter(shown)) in found  # those of the hits are first
    assert page.run("document.querySelector('#active').hidden")
    label = next(iter(shown))
    page.run("document.querySelector('#facet-groups .chip').click()")
    page.wait("!document.querySelector('#active').hidden && document.querySelectorAll('.hit').length")
    page.wait(f"document.querySelector('#facets-count').textContent.startsWith('{counts[label]:,} doc')")
    every = "[...document.querySelectorAll('.hit')].every(hit => [...hit.querySelectorAll('.label')]"
    page.wait(f"{every}.some(chip => chip.textContent === {json.dumps(label)}))")
    assert page.run("new URLSearchParams(location.search).getAll('label').join()") == label
    assert label not in chips(page, "#facet-groups .chip")
    page.run("document.querySelector('#active .chip').click()")
    page.wait(f"document.querySelector('#active').hidden && {HITS}")
    assert page.run("new URLSearchParams(location.search).get('label')") is None
    page.run("history.back()")
    page.wait("!document.querySelector('#active').hidden")


@pytest.fixture(scope="module")
def with_attributes(released: StateDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service over documents that have attributes, beside those that have none."""
    home = StateDir(Path(shutil.copytree(released.root, tmp_path_factory.mktemp("attributes") / "home")))
    root, release = str(home.root), read_release(home)
    shards = [ShardServer(root, release.name, number) for number in range(SHARDS)]
    coordinator = Coordinator(release, LimitsConfig(), LocalEncoder(root, release.name), shards)
    app = make_app(coordinator, index_writes=IndexWriteService(home, coordinator, LocalWriter(root, "http://test")))
    with listening(app) as url:
        assert httpx.put(f"{url}/v1/documents?wait=true", json={"documents": DOCUMENTS}).status_code == 200
        yield url


def active(page: Page) -> list[str]:
    return [text.removesuffix("×") for text in texts(page, "#active .chip")]


def test_attributes_are_filters_in_ranges_and_by_value(page: Page, with_attributes: str) -> None:
    own = "document.querySelectorAll('.hit').length === 5"
    page.open(f"{with_attributes}/?q={quote_plus('sort the values of an array')}&mode=keyword&label=own")
    page.wait(own)
    assert texts(page, ".facet .name") == ["year", "lang", "free", "day"]
    years = chips(page, "#facet-groups .chip[data-facet^='year ']")
    assert years == {"2001 – 2004": 2, "2004 – 2007": 1, "2007 – 2009": 2}
    page.run("document.querySelectorAll('#facet-groups .chip[data-facet^=\"year \"]')[2].click()")
    page.wait("document.querySelectorAll('.hit').length === 2")
    assert active(page) == ["own", "year: 2007 – 2009"]
    page.run("document.querySelectorAll('#active .chip')[1].click()")
    page.wait(own)
    page.run("[...document.querySelectorAll('.hit .attribute')].find(chip => chip.textContent === 'lang de').click()")
    page.wait("document.querySelectorAll('.hit').length === 3")
    page.run("document.querySelector('#facet-groups .chip[data-facet^=\"year \"]').click()")
    page.wait("document.querySelectorAll('.hit').length === 1")
    assert active(page) == ["own", "lang: de", "year: 2005 – 2007"]
    page.reload()
    page.wait("document.querySelectorAll('.hit').length === 1")
    assert active(page) == ["own", "lang: de", "year: 2005 – 2007"]
    page.run("document.querySelector('#active .plain').click()")
    page.wait(f"document.querySelector('#active').hidden && {HITS}")


@pytest.mark.parametrize("where", [{"nobody": {"eq": 1}}, {"year": {"gte": 3000}}])
def test_a_filter_that_finds_nothing_or_is_unknown_can_be_left_out(
    page: Page, with_attributes: str, where: dict
) -> None:
    page.open(f"{with_attributes}/?q={quote_plus(QUERY)}&where={quote_plus(json.dumps(where))}")
    page.wait("[...document.querySelectorAll('main button')].some(one => one.textContent === 'Search without filters')")
    page.run("[...document.querySelectorAll('main button')].find(one => one.textContent.includes('without')).click()")
    page.wait(HITS)
    assert page.run("document.querySelector('#active').hidden && !document.querySelector('.error')")


def test_any_filter_of_an_address_is_shown_and_what_is_none_is_left_out(page: Page, with_attributes: str) -> None:
    given = ['{"lang": {"prefix": "e"}}', '{"year": 5}', "null", "[1", '{"day": {"lt": {"date": "2024-05-03"}}}']
    where = "&".join(f"where={quote_plus(one)}" for one in given)
    page.open(f"{with_attributes}/?q=sort&{where}")
    page.wait("document.querySelectorAll('.hit').length === 2")
    assert active(page) == ['lang: {"prefix":"e"}', "day: below 2024-05-03"]


def test_facets_and_filters_fit_a_phone(page: Page, with_attributes: str) -> None:
    where = quote_plus(json.dumps({"year": {"gte": 2000}}))
    page.open(f"{with_attributes}/?q=sort&where={where}&label=own", width=360, height=740)
    page.wait("document.querySelectorAll('.hit').length")
    assert not page.run("document.querySelector('#facets').open")
    page.run("document.querySelector('#facets summary').click()")
    assert page.run("document.documentElement.scrollWidth") <= 360
    assert active(page) == ["own", "year: from 2000"]


def test_what_is_no_nearer_than_chance_is_said_so(
    page: Page, url: str, coordinator: Callable[[LimitsConfig], Coordinator]
) -> None:
    import asyncio

    chance = httpx.get(f"{url}/v1/info").json()["index"]["chance_distance"]
    nearest = {}
    for text in random_texts(asyncio.run(coordinator(LimitsConfig()).sample(256))):
        hits = answer(url, text, mode="semantic")["hits"]
        if hits:
            nearest[text] = hits[0]["distance"]
    far, near = max(nearest, key=nearest.get), min(nearest, key=nearest.get)  # type: ignore[arg-type]
    assert nearest[near] <= chance < nearest[far]
    for text, said in ((far, True), (near, False)):
        page.open(f"{url}/?q={quote_plus(text)}&mode=semantic")
        page.wait("document.querySelectorAll('.hit').length")
        page.wait("state.info")
        assert page.run("!document.querySelector('#far-off').hidden") is said
    for mode in ("keyword", "hybrid"):  # documents with its words are near enough
        page.open(f"{url}/?q={quote_plus(far)}&mode={mode}")
        page.wait("document.querySelectorAll('.hit').length")
        page.wait("state.info")
        assert page.run("document.querySelector('#far-off').hidden")


def test_markup_of_docstrings_becomes_text_lists_and_code(page: Page, url: str) -> None:
    page.open(f"{url}/?")
    nodes = f"rendered(blocksOf({json.dumps(DOCSTRING)}), new Set(['sorted']))"
    page.run(f"document.body.append(make('section', {{}}, ...{nodes}))")
    assert texts(page, "section h3") == ["Parameters", "Returns"]
    assert texts(page, "section p") == [
        "Sort a ndarray by kind, see numpy docs.",
        "Wrapped line, not a list, with *args.",
        "The array, which is sorted.",
        "New in version 1.2",
        "Use it so:",
    ]
    assert texts(page, "section .entry > :first-child") == ["a array_like", "*args, **kwargs", "axis", "ValueError"]
    assert texts(page, "section pre") == ["x = 1\ny = 2\n\n>>> sort([2, 1])\n[1, 2]"]
    assert texts(page, "section p code") == ["ndarray", "kind"]
    assert texts(page, "section mark") == ["sorted", "sorted"]
    assert "if <script>alert(1)</script>" in texts(page, "section .item")
    assert page.run("document.querySelectorAll('section script').length") == 0


@pytest.mark.parametrize(
    "text",
    ["", "-" * 9, "::", ">>> x", "`" * 50, "*" * 50, ".. note::", "a\n  ::\n\n  b", "Args:\n", ":x:", "\t\n\n- "],
)
def test_any_text_can_be_shown(page: Page, url: str, text: str) -> None:
    page.open(f"{url}/?")
    assert page.run(f"rendered(blocksOf({json.dumps(text)}), new Set()).length >= 0")


@pytest.mark.parametrize("query", ["", f"q={quote_plus(QUERY)}", "q=qqqqxx", "like=nobody"])
def test_a_phone_shows_it_without_scrolling_sideways(page: Page, url: str, query: str) -> None:
    page.open(f"{url}/?{query}", width=360, height=740)
    page.wait("document.querySelector('.hit, .note strong, .error')")
    page.run("for (const part of document.querySelectorAll('details')) part.open = true")
    assert page.run("document.documentElement.scrollWidth") <= 360
    assert page.run("document.querySelector('header').offsetHeight") < 50


def test_information_opens_over_the_search_and_escape_goes_back_to_it(page: Page, url: str) -> None:
    page.open(f"{url}/?q={quote_plus(QUERY)}")
    page.wait(HITS)
    page.run("document.querySelector('#about-button').click()")
    facts = texts(page, "#about-facts dd")
    assert any("codes of 32 bits by itq" in fact for fact in facts)
    page.press("Escape")
    page.wait("!document.querySelector('#about').open")
    assert page.run("document.querySelector('#q').value") == QUERY


def test_an_error_names_its_page_which_looks_like_the_service(page: Page, url: str) -> None:
    page.open(f"{url}/?like=nobody")
    page.wait("document.querySelector('.error a')")
    page.open(url + page.run("document.querySelector('.error a').getAttribute('href')"), width=360)
    assert page.run("document.querySelector('h1').textContent") == "No document has this id"
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 246)"
    assert page.run("document.documentElement.scrollWidth") <= 360
