"""Training, search in memory and evaluation in one process, without Ray, MLflow, FastAPI or Lance.

``import texthash`` offers these functions by name. A release, a registered model or a cluster imports its packages at
its first use.
"""
