"""An edition's card: each difference from the published counts has its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from texthash.corpora.corpus_record import CorpusRecord
from texthash.corpora.preparation.report import card, explain, render
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.manifest import Manifest


@pytest.fixture
def manifest(small_corpus: PreparedCorpus) -> Manifest:
    """Of 1,500 documents or so under 8 labels; nothing was left out."""
    return replace(small_corpus.manifest, dropped={}, remarks={}, warnings=[])


@pytest.fixture
def kept(manifest: Manifest) -> int:
    return sum(manifest.documents.values())


def record(documents: int, labels: int = 8, outside: tuple[str, ...] = ()) -> CorpusRecord:
    return CorpusRecord(
        "small", "A small corpus", documents, labels, False, "none", "somewhere", "nobody", excluded_reasons=outside
    )


def test_what_was_left_out_is_subtracted(manifest: Manifest, kept: int) -> None:
    dropped = {"empty": 3, "fewer than 1 vocabulary words": 2}
    found = explain(replace(manifest, dropped=dropped), record(kept + 5))
    assert found == [f"{kept + 5:,} canonical - 3 (empty) - 2 (fewer than 1 vocabulary words) = {kept:,} kept."]


def test_what_the_corpus_never_counted_is_set_apart(manifest: Manifest, kept: int) -> None:
    found = explain(replace(manifest, dropped={"unused": 700, "empty": 1}), record(kept + 1, outside=("unused",)))
    assert found == [
        f"{kept + 1:,} canonical - 1 (empty) = {kept:,} kept.",
        "not counted as of the corpus: 700 (unused).",
    ]


def test_a_part_is_said_to_be_one(manifest: Manifest, kept: int) -> None:
    assert explain(manifest, record(kept + 1000))[0] == (
        f"the source holds only {kept:,} of the {kept + 1000:,} documents."
    )
    limited = replace(manifest, config=manifest.config.model_copy(update={"limit": kept}))
    assert explain(limited, record(kept + 1000))[0].startswith("corpus.limit: ")


def test_more_than_was_published_is_said_too(manifest: Manifest, kept: int) -> None:
    found = explain(manifest, record(kept - 1))
    assert found[0] == f"the source holds {kept:,} documents, more than the {kept - 1:,} that are published."
    assert found[1] == f"{kept:,} read = {kept:,} kept."


def test_labels_that_are_not_there_are_explained(manifest: Manifest, kept: int) -> None:
    assert explain(manifest, record(kept, 9))[1] == "8 of 9 labels: the others are on no document that was kept."
    edition = manifest.config.edition.model_copy(update={"label_set": "top8"})
    chosen = replace(manifest, config=manifest.config.model_copy(update={"edition": edition}))
    assert explain(chosen, record(kept, 9))[1] == "8 of 9 labels: the set top8."


def test_a_card_holds_all_counts_and_reads_as_lines(small_corpus: PreparedCorpus, manifest: Manifest) -> None:
    noted = replace(manifest, dropped={"empty": 2}, remarks={"no title": 4}, warnings=["labels are few."])
    own = card(PreparedCorpus(small_corpus.path, noted), None)
    assert list(own["documents"]) == ["train", "validation", "test"]
    assert (own["vocabulary"], own["labels"], own["canonical"]) == (2000, 8, None)
    first, *rest = render(own).splitlines()
    assert first.startswith("small/random60: ")
    assert first.endswith("2,000 words, 8 labels")
    assert rest.pop(0).startswith("  encoded: text; titles are shown")
    assert rest == ["  left out: 2 (empty)", "  kept with a remark: 4 (no title)", "  warning: labels are few."]

    known = card(PreparedCorpus(small_corpus.path, noted), record(5000, 8))
    assert known["canonical"] == {"documents": 5000, "labels": 8, "splits": {}}
    assert "  the source holds only" in render(known)


def test_a_card_says_what_is_encoded(manifest: Manifest, small_corpus: PreparedCorpus) -> None:
    assert "encoded: text; titles are shown and never encoded" in render(card(small_corpus, None))
    config = type(manifest.config).model_validate({**manifest.config.model_dump(), "text": ["title", "text"]})
    facts = card(small_corpus, None) | {"encoded": list(config.text)}
    assert "encoded: title, text\n" in render(facts) + "\n"
