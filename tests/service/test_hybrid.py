"""Search by meaning, by words and by both, over HTTP: its lists are those of the sides, whatever the shards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.service.conftest import Asked
from texthash.api.requests import SearchRequest
from texthash.config import LimitsConfig
from texthash.index.fusion import DEPTH, Fusion
from texthash.index.releases.release import OpenRelease, SearchDefaults
from texthash.index.search import SearchOptions, search_index
from texthash.index.writing.build import build_index
from texthash.service.coordinator import Answer, Coordinator
from texthash.service.http_app import make_app
from texthash.service.replicas.encoder import Encoded, LocalEncoder, Texts
from texthash.service.replicas.shard import ShardServer

QUERIES = ("sort the values of an array", "read a csv file", "data_for_sorting", "zzzz")


def hits(asked: Asked, text: str, **members: object) -> list[dict]:
    reply = asked.search({"text": text}, **members)
    assert reply.status_code == 200, reply.text
    return reply.json()["results"][0]["hits"]


@pytest.mark.parametrize("text", QUERIES)
def test_a_hybrid_search_fuses_the_lists_of_both_sides(asked: Asked, text: str) -> None:
    near = hits(asked, text, limit=DEPTH)
    words = hits(asked, text, mode="keyword", limit=DEPTH)
    ranks = [{hit["id"]: rank for rank, hit in enumerate(side, 1)} for side in (near, words)]
    closeness = {hit["id"]: 16 - hit["distance"] for hit in near}, {hit["id"]: hit["score"] for hit in words}
    for fusion in ({"weight": 0.3}, {"weight": 0.3, "constant": 60}, {"weight": 0.3, "kind": "ranks"}):
        found = hits(asked, text, mode="hybrid", limit=20, fusion=fusion)
        for hit in found:
            places = [side.get(hit["id"]) for side in ranks]
            assert [own and own["rank"] for own in (hit["semantic"], hit["keyword"])] == places
            if len(fusion) == 1:
                gains = [max(0, own.get(hit["id"], 0)) / max(own.values(), default=1) for own in closeness]
            else:
                first = 1 + fusion.get("constant", 10)
                gains = [first / (first - 1 + place) if place else 0 for place in places]
            assert hit["score"] == pytest.approx(0.3 * gains[0] + 0.7 * gains[1])
    scores = [hit["score"] for hit in found]
    assert scores == sorted(scores, reverse=True)
    assert {hit["id"] for hit in found} <= {*ranks[0], *ranks[1]}
    distances = {hit["id"]: hit["distance"] for hit in near}
    assert all(hit["distance"] == distances[hit["id"]] for hit in found if hit["semantic"])


def test_hits_by_words_alone_have_their_distances_on_every_page(asked: Asked, opened: OpenRelease) -> None:
    whole = {hit["id"]: hit["distance"] for hit in hits(asked, QUERIES[0], limit=1_000)}
    fusion = {"depth": 60, "weight": 0.3}
    found = [
        hit for at in (0, 20, 40) for hit in hits(asked, QUERIES[0], mode="hybrid", fusion=fusion, offset=at, limit=20)
    ]
    alone = [hit for hit in found if not hit["semantic"]]
    assert len(alone) > 10
    assert all(hit["distance"] == whole[hit["id"]] for hit in alone if hit["id"] in whole)
    assert sum(hit["id"] in whole for hit in alone) > 5
    query = opened.shards[0].keywords.query(QUERIES[0])
    code = opened.hasher.encode([QUERIES[0]], role="query")[0]
    options = SearchOptions(mode="hybrid", limit=60, depth=60, fusion=Fusion(0.3))
    page = search_index(opened.shards, options, code=code, terms=query).page
    assert page.distances == [hit["distance"] for hit in found]


def test_pages_of_a_hybrid_search_follow_each_other(asked: Asked) -> None:
    whole = hits(asked, QUERIES[0], mode="hybrid", limit=30)
    pages = [hits(asked, QUERIES[0], mode="hybrid", limit=10, offset=offset) for offset in (0, 10, 20)]
    assert [hit["id"] for page in pages for hit in page] == [hit["id"] for hit in whole]


def test_keyword_hits_are_those_of_the_shards(asked: Asked, opened: OpenRelease) -> None:
    query = opened.shards[0].keywords.query(QUERIES[1])
    expected = search_index(opened.shards, SearchOptions(mode="keyword", limit=15), terms=query)
    found = hits(asked, QUERIES[1], mode="keyword", limit=15)
    assert [hit["score"] for hit in found] == expected.page.scores
    assert all(hit["distance"] is None for hit in found)


def test_the_number_of_shards_changes_no_answer(
    released, small_corpus, encoder: LocalEncoder, opened: OpenRelease, asked: Asked, tmp_path
) -> None:
    from texthash.index.releases.publish import publish
    from texthash.index.releases.release import open_release
    from texthash.paths import StateDir

    home = StateDir(tmp_path)
    model = released.path(opened.release.model_uri)
    publish(home, model, build_index(model, small_corpus.path, home, shards=1))
    one = open_release(home)
    shard = ShardServer(str(home.root), one.release.name, 0)
    alone = Asked(
        make_app(Coordinator(one.release, LimitsConfig(), LocalEncoder(str(home.root), one.release.name), [shard]))
    )
    for text in QUERIES:
        for members in ({"mode": "hybrid"}, {"mode": "keyword"}, {"mode": "hybrid", "rescore": {"kind": "asymmetric"}}):
            assert hits(alone, text, limit=25, **members) == hits(asked, text, limit=25, **members)


def test_a_filter_holds_on_both_sides(asked: Asked) -> None:
    label = hits(asked, QUERIES[0], fields=["labels"])[0]["document"]["labels"][0]
    for mode in ("hybrid", "keyword"):
        found = hits(asked, QUERIES[0], mode=mode, filter={"labels": [label]}, fields=["labels"], limit=50)
        assert found
        assert all(label in hit["document"]["labels"] for hit in found)


def test_the_default_is_hybrid_for_texts_only(asked: Asked) -> None:
    def mode(*queries: dict, **members: object) -> str:
        return asked.post("/v1/search", {"queries": list(queries), **members}).json()["mode"]

    identity = hits(asked, QUERIES[0])[0]["id"]
    assert mode({"text": "a"}) == "hybrid"
    assert mode({"id": identity}) == "semantic"
    assert mode({"text": "a"}, {"id": identity}) == "semantic"
    assert mode({"text": "a"}, radius=3) == "semantic"


def test_weights_at_the_ends_are_the_sides(asked: Asked) -> None:
    near, words = hits(asked, QUERIES[0], limit=10), hits(asked, QUERIES[0], mode="keyword", limit=10)
    for weight, side in ((1, near), (0, words)):
        found = hits(asked, QUERIES[0], mode="hybrid", fusion={"weight": weight}, limit=10)
        assert [hit["id"] for hit in found] == [hit["id"] for hit in side]


def test_a_text_without_a_known_word_is_found_by_words(asked: Asked) -> None:
    reply = asked.search({"text": "data_for_sorting_zz zq data_for_sorting"}, mode="hybrid").json()["results"][0]
    assert any(hit["keyword"] for hit in reply["hits"])
    nothing = asked.search({"text": "qqqq xxyyzz"}, mode="hybrid").json()["results"][0]
    assert nothing["hits"] == []
    assert asked.search({"text": "the of and"}, mode="keyword").json()["results"][0]["hits"] == []


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_hits_say_which_of_their_words_are_those_of_the_query(asked: Asked, mode: str) -> None:
    found = hits(asked, "sorting arrays", mode=mode, highlight=True, fields=["title", "text"], limit=30)
    marked = [hit for hit in found if hit["matches"]]
    assert marked
    assert all(hit["matches"] for hit in found if mode == "keyword" or (mode == "hybrid" and hit["keyword"]))
    for hit in marked:
        text = "\n".join((hit["document"]["title"], hit["document"]["text"]))
        assert all(piece in text for piece in hit["matches"])
    if mode != "semantic":  # hits by meaning need not have the query's words
        assert any({"sort", "sorted"} & set(hit["matches"]) for hit in marked)


def test_only_returned_fields_and_texts_are_highlighted(asked: Asked) -> None:
    assert "matches" not in hits(asked, QUERIES[0])[0]
    assert all(hit["matches"] == [] for hit in hits(asked, QUERIES[0], mode="keyword", highlight=True, fields=[]))
    identity = hits(asked, QUERIES[0])[0]["id"]
    found = asked.search({"id": identity}, highlight=True, fields=["text"]).json()["results"][0]["hits"]
    assert all(hit["matches"] == [] for hit in found)


def test_queries_without_text_have_no_words(asked: Asked) -> None:
    reply = asked.search({"id": "x"}, mode="keyword")
    assert (reply.status_code, reply.json()["type"]) == (409, "/problems/no-text")


def test_an_index_without_words_says_how_to_add_them(
    coordinator: Callable[[LimitsConfig], Coordinator],
) -> None:
    old = coordinator(LimitsConfig())
    old.release = replace(old.release, keywords=None)
    asked = Asked(make_app(old))
    for mode in ("hybrid", "keyword"):
        reply = asked.search({"text": "sort"}, mode=mode)
        assert (reply.status_code, reply.json()["type"]) == (409, "/problems/no-keywords")
    assert asked.post("/v1/search", {"queries": [{"text": "sort"}]}).json()["mode"] == "semantic"


def test_the_defaults_of_the_release_are_used_where_a_request_names_none(
    coordinator: Callable[[LimitsConfig], Coordinator], asked: Asked
) -> None:
    chosen = SearchDefaults(weight=0.2, rescoring="asymmetric", queries=50, semantic=0.4, keyword=0.5, hybrid=0.6)
    other = coordinator(LimitsConfig())
    other.release = replace(other.release, defaults=chosen)
    tuned = Asked(make_app(other))
    named = {"mode": "hybrid", "fusion": {"weight": 0.2, "kind": "ranks"}, "rescore": {"kind": "asymmetric"}}
    assert hits(tuned, QUERIES[0], mode="hybrid") == hits(asked, QUERIES[0], **named)
    plain = {"mode": "hybrid", "fusion": {"weight": 0.4, "kind": "scores"}, "rescore": {"kind": "none"}}
    assert hits(tuned, QUERIES[0], **plain) == hits(asked, QUERIES[0], mode="hybrid")
    assert hits(tuned, QUERIES[0]) == hits(asked, QUERIES[0], rescore={"kind": "asymmetric"})
    assert hits(tuned, QUERIES[0], radius=9) == hits(asked, QUERIES[0], radius=9), "within a radius by distance"
    assert tuned.get("/v1/info").json()["index"]["search_defaults"]["weight"] == 0.2
    other.release = replace(other.release, defaults=replace(chosen, fusion="scores"))
    assert hits(tuned, QUERIES[0], mode="hybrid") != hits(asked, QUERIES[0], **named)
    named["fusion"]["kind"] = "scores"
    assert hits(tuned, QUERIES[0], mode="hybrid") == hits(asked, QUERIES[0], **named)


def test_a_search_during_a_change_of_the_release_has_the_weight_of_its_own(
    opened: OpenRelease, encoder: LocalEncoder, shards: list[ShardServer]
) -> None:
    def chosen(weight: float) -> SearchDefaults:
        return SearchDefaults(weight=weight, rescoring="none", queries=50, semantic=0.4, keyword=0.5, hybrid=0.6)

    old, new = (replace(opened.release, defaults=chosen(weight)) for weight in (0.9, 0.1))
    request = SearchRequest.model_validate({"queries": [{"text": QUERIES[0]}], "mode": "hybrid"})

    class Changing:
        """Encoder during whose pass the coordinator moves to the next release."""

        async def encode(self, call: Texts) -> Encoded:
            coordinator.release = new
            return await encoder.encode(call)

        async def ping(self, release: str) -> bool:
            return await encoder.ping(release)

    coordinator = Coordinator(old, LimitsConfig(), Changing(), shards)
    (during,) = asyncio.run(coordinator.search([request]))
    alone = Coordinator(old, LimitsConfig(), encoder, shards)
    (before,) = asyncio.run(alone.search([request]))
    assert isinstance(during, Answer)
    assert isinstance(before, Answer)
    assert during.release.defaults == old.defaults
    assert during.results == before.results
