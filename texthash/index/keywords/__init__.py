"""Keyword search by BM25: words of documents, their postings, and scores that do not depend on the number of shards.

* :mod:`.analysis`: text to words, for documents and queries alike.
* :mod:`.postings`: the documents of each word, in memory, with later writes.
* :mod:`.bm25`: the score, and the statistics that the shards of an index share.
* :mod:`.search`: search over all shards of an index.
"""
