"""Fitted methods: saved, loaded, and applied to raw text.

    hasher            a method with its vocabulary and text rules: ``encode``, ``save``, ``load``
    files             the files of a saved model, read without the model
    encoding          a prepared split to packed codes
    query_encoder     a few queries to codes, by numpy where the method's layers allow it (direct, direct_form)
    bulk_encode       many texts to files, resumable
    vectors           the real-valued vectors by which an index reorders its nearest documents
    text_reranker     models that read question and document
    graphs            neighbours and weak codes that a method learns from

files and query_encoder do without torch, which takes seconds to import.
"""
