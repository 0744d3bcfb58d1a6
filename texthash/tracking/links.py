"""URLs of pages of MLflow's user interface."""

from __future__ import annotations


def user_interface(store: str, port: int) -> str:
    """Return the URL of the user interface of a store.

    Args:
        store: Address of the store. A server is the user interface itself; any other store needs a local one.
        port: Port of a local user interface.
    """
    return store if store.startswith(("http://", "https://")) else f"http://127.0.0.1:{port}"


def how_to_open(store: str, port: int = 5000) -> str:
    """Return the URL of the runs of a store, or the command that opens them if no server keeps the store."""
    if user_interface(store, port) == store:
        return store
    return f"mlflow ui --host 127.0.0.1 --port {port} --backend-store-uri {store}"


def runs_page(server: str, experiment_id: str) -> str:
    """Return the URL of the runs of an experiment.

    Without the type of workflow, MLflow 3 opens the page of language-model traces, which is empty.

    Args:
        server: URL of the user interface, such as ``http://127.0.0.1:5000``.
        experiment_id: Id of the experiment in the store.
    """
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
