"""Retrieval with judged queries: models, baselines and their fusion on test collections."""
