"""Evaluation of codes: tie-aware metrics, the protocol of a corpus, and test collections.

    metrics           closed forms over histograms of distance: expected, best and worst over the orders of ties
    scoring           all metrics of codes and relevance, by name
    relevance         queries, database and what is relevant: labels, questions, or halves of documents
    protocol          both on a corpus: validation at any time, test once
    results           an evaluation and its files
    significance      paired tests over queries
    diagnostics, hard_queries, severity, pools        what else is said of a model
    baselines/        rankings and codes without learning
    retrieval/        ranked lists with scores, test collections, runs of TREC

A query without a relevant document has no value, and is left out of means.
"""
