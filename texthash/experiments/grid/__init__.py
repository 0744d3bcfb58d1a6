"""Studies: corpora x methods x bits x seeds from one file, run cell by cell, kept on disk and described on one page.

A :class:`~texthash.experiments.experiment.Experiment` trains models of one configuration; a study is a grid of
such cells, with codes cut from sentence encoders and the cosine of real-valued vectors beside them.
"""
