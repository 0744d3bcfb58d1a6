"""Runs, metrics, models and their registry in MLflow; the only room that depends on MLflow.

Every call names its run by id and its store by address. There is no global state, so several processes (trials,
training workers) can write to one store. Objects of this room can be pickled; each process opens its own client.
"""

from texthash.tracking.environment import commit, data_digest
from texthash.tracking.failures import StoreUnavailableError
from texthash.tracking.outbox import Outbox, open_store
from texthash.tracking.run import Run
from texthash.tracking.store import check_store
from texthash.tracking.tracker import Tracker

__all__ = ["Outbox", "Run", "StoreUnavailableError", "Tracker", "check_store", "commit", "data_digest", "open_store"]
