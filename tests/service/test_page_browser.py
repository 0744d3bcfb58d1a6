"""The search page in a browser, over a service without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import quote_plus

import httpx
import pytest

from tests.service.browser import Page, browse, chromium_path
from tests.service.conftest import Asked
from tests.service.live import listening
from texthash.config import LimitsConfig
from texthash.service.chance import random_texts
from texthash.service.coordinator import Coordinator
from texthash.service.http_app import make_app

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
    executable = chromium_path()
    if executable is None:
        pytest.skip("no Chromium on PATH to open the page with")
    with browse(executable) as page:
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
    assert f"the two ranks give the score {hits[0]['score']:.4f}" in shown


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


def test_labels_are_counted_among_the_hits(page: Page, url: str) -> None:
    page.open(f"{url}/?q={quote_plus(QUERY)}")
    page.wait(HITS)
    labels = [label for hit in answer(url, QUERY)["hits"] for label in hit["document"]["labels"]]
    assert page.run("document.querySelector('#facets').innerText").startswith("Labels among these hits")
    assert set(texts(page, "#filters .chip")) == {f"{label} {labels.count(label)}" for label in labels}


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
    page.open(f"{url}/?q={quote_plus(far)}&mode=keyword")
    page.wait("document.querySelectorAll('.hit').length")
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
