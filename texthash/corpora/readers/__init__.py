"""Readers of corpora: one module for each corpus that has a name, and the forms of documents of one's own.

:func:`texthash.corpora.catalog.readers` finds the modules with a ``record``, and says which functions they offer.
``own`` reads a file or folder of the user: ``rows`` and ``tables`` (JSONL, JSON, CSV, TSV, Parquet), ``pairing``,
``dpr`` and ``answer_selection`` (questions and answers) and ``beir`` (test collections).
"""
