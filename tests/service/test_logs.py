"""The log of the service in the file of a replica."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler, RotatingFileHandler
from pathlib import Path

import pytest

from texthash.service.logs import SERVE_LOGGER, ToServe

BUFFERED = 64


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"message": record.getMessage(), "id": getattr(record, "request_id", None)})


@pytest.fixture
def file(tmp_path: Path) -> Iterator[RotatingFileHandler]:
    """The file of a replica, behind a buffer, as Serve opens it."""
    made = RotatingFileHandler(tmp_path / "replica.log", maxBytes=2_000, backupCount=1)
    made.setFormatter(_Json())
    serve = logging.getLogger(SERVE_LOGGER)
    before, serve.handlers = serve.handlers, [MemoryHandler(1_000, logging.ERROR, made)]
    yield made
    serve.handlers = before
    made.close()


def _logger() -> logging.Logger:
    logger = logging.Logger("of a test", logging.INFO)
    logger.addHandler(ToServe())
    return logger


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_of_requests_are_written_together_and_in_order(file: RotatingFileHandler) -> None:
    logger, path = _logger(), Path(file.baseFilename)
    for number in range(BUFFERED - 1):
        logger.info("request", extra={"request_id": number})
    assert _lines(path) == []
    logger.info("request", extra={"request_id": BUFFERED - 1})
    assert _lines(path) == [{"message": "request", "id": number} for number in range(BUFFERED)]


def test_a_line_is_written_at_once_where_serve_buffers_none(file: RotatingFileHandler) -> None:
    logging.getLogger(SERVE_LOGGER).handlers = [MemoryHandler(1, logging.ERROR, file)]
    _logger().info("request", extra={"request_id": 1})
    assert _lines(Path(file.baseFilename)) == [{"message": "request", "id": 1}]


def test_another_line_is_written_at_once_with_those_before_it(file: RotatingFileHandler) -> None:
    logger, path = _logger(), Path(file.baseFilename)
    logger.info("request", extra={"request_id": 1})
    logger.info("another")
    assert sorted(line["message"] for line in _lines(path)) == ["another", "request"]


def test_the_file_rotates(file: RotatingFileHandler) -> None:
    logger, path = _logger(), Path(file.baseFilename)
    for number in range(3 * BUFFERED):
        logger.info("request", extra={"request_id": number})
    kept = [line["id"] for line in (*_lines(path.with_name("replica.log.1")), *_lines(path))]
    assert kept == list(range(BUFFERED, 3 * BUFFERED)), "of three times 64 lines, the last two"
    assert all(one.stat().st_size <= 2_000 + 64 * 50 for one in path.parent.iterdir())
