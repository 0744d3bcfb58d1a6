"""Runs, metrics, models and their registry in MLflow; the only room that knows MLflow.

Every call names its run by id and its store by address: no global state, so that several processes (trials, training
workers) write to one store. Objects here travel to other processes; each opens a client of its own.
"""

from texthash.tracking.environment import commit, data_digest
from texthash.tracking.outbox import Outbox, open_store
from texthash.tracking.run import Run
from texthash.tracking.store import StoreUnavailableError, check_store
from texthash.tracking.tracker import Tracker

__all__ = ["Outbox", "Run", "StoreUnavailableError", "Tracker", "check_store", "commit", "data_digest", "open_store"]
