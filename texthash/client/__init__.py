"""Clients of the service, with typed answers and retries while it is busy or a part of it is restarted.

>>> from texthash.client import Client
>>> with Client("http://127.0.0.1:8000") as client:
...     hits = client.search("sort an array", limit=3).results[0].hits

:class:`AsyncClient` has the same methods as coroutines.
"""

from texthash.client.clients import AsyncClient, Client, ServiceError

__all__ = ["AsyncClient", "Client", "ServiceError"]
