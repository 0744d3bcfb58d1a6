"""Configuration of the index."""

from __future__ import annotations

from pydantic import (
    Field,
)

from texthash.api.answers import KeywordAnalysis, VectorKind
from texthash.config.section import Section


class IndexConfig(Section):
    """Content of an index beside the codes."""

    shards: int = Field(2, ge=1, le=10_000)
    vectors: VectorKind | None = Field(
        None,
        description="vectors stored beside the codes, float16, for `--rescore float`. activations: the method's real "
        "values before binarization; features: the vectors of corpus.features; null: none",
    )
    keywords: KeywordAnalysis | None = Field(
        "english",
        description="analysis of the words stored for keyword and hybrid search. english: function words left out, "
        "words reduced to stems; plain: words as they are, for other languages; null: no keyword search",
    )
    title_weight: int = Field(5, ge=1, le=100, description="number of times that a word of the title counts")
    lead_weight: int = Field(
        1,
        ge=1,
        le=100,
        description="number of times that each of the first 15 words of the text counts; more than 1 where documents "
        "begin with what they are about",
    )
    title_brevity: float = Field(
        0.0,
        ge=0,
        le=1,
        description="power a by which short titles are preferred in search by words: a score is divided by the number "
        "of words of the title to the a; more than 0 where titles are names or paths, as of functions",
    )
    bm25_k1: float = Field(
        1.2, gt=0, le=100, description="constant of BM25: the more, the later a repeated word stops to count more"
    )
    bm25_b: float = Field(
        0.75,
        ge=0,
        le=1,
        description="constant of BM25, share of the length of a document in the weight of its words; little where long "
        "documents are the important ones",
    )
    discard_writes: bool = Field(
        False,
        description="release an index of the corpus also if the current release was written to: inserted documents are "
        "then missing in it, and deleted ones are there again",
    )
