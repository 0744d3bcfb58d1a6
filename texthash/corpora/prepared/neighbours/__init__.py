"""Exact neighbours of the training documents: searched by cosine or Hamming distance, and kept on disk (``cache``).

:mod:`texthash.models.graphs` decides which graphs a method needs and has them made before training.
"""
