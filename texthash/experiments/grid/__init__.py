"""Studies: corpora x methods x bits x seeds from one file, run cell by cell, stored on disk, with one report.

An :class:`~texthash.experiments.experiment.Experiment` trains models of one configuration; a study is a grid of such
cells, compared with quantized embeddings of sentence encoders and with the cosine of real-valued vectors.
"""
