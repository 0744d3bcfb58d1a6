"""Requests without an item: each is an error that names the member, but to encode nothing gives nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.conftest import Asked
from tests.service.test_client import through
from tests.service.test_keys import WRITE, by
from tests.service.test_keys import written as written
from tests.service.test_keys import written_home as written_home
from texthash.client import Client, ServiceError


@pytest.mark.parametrize(
    ("method", "path", "body", "where"),
    [
        ("PUT", "/v1/documents", {"documents": []}, ["body", "documents"]),
        ("PUT", "/v1/documents", {}, ["body", "documents"]),
        ("POST", "/v1/documents/delete", {"ids": []}, ["body", "ids"]),
        ("POST", "/v1/documents/delete", {}, ["body"]),
        ("POST", "/v1/search", {"queries": []}, ["body", "queries"]),
    ],
)
def test_requests_without_an_item(written: Asked, method: str, path: str, body: Any, where: list[str]) -> None:
    answer = by(written, WRITE, method, path, body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == where


def test_calls_of_the_client_without_an_item(written: Asked) -> None:
    with Client("http://test", key=WRITE, transport=through(written)) as client:
        calls = [
            lambda: client.upsert([]),
            lambda: client.upsert(document for document in ()),
            lambda: client.delete(ids=[]),
            lambda: client.delete(),
            lambda: client.search([]),
        ]
        for call in calls:
            with pytest.raises(ServiceError) as refused:
                call()
            assert refused.value.status == 422
        assert client.encode([]).codes == []
