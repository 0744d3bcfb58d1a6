"""Words of the query in the titles and texts of hits."""

from __future__ import annotations

from texthash.api.requests import SearchRequest
from texthash.index.keywords.analysis import document_text, keyword_analyzer
from texthash.service.coordinator import Answer


def highlight(request: SearchRequest, answer: Answer) -> None:
    """Add ``matches`` to the hits of each query, none for a query without text.

    The texts of an index without words are analysed as English.
    """
    analyzer = keyword_analyzer(answer.release.keywords or "english")
    for query, result in zip(request.queries, answer.results, strict=True):
        terms = analyzer.query(query.text or "")
        for hit in result["hits"]:
            fields = hit["document"]
            hit["matches"] = analyzer.matches(document_text(fields.get("title"), fields.get("text")), terms)
