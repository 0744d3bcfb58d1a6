"""Everything in one process: train on texts, index them in memory, search, evaluate. No Ray, MLflow, FastAPI or Lance.

What is here is what ``import texthash`` offers by name. A release, a registered model or a cluster imports what it
needs at its first use.
"""
