"""A port that the service cannot have is told before a cluster is started, with the setting that names it."""

from __future__ import annotations

import socket

import pytest

from texthash.cli.app import main
from texthash.paths import StateDir


@pytest.mark.parametrize(
    ("words", "setting", "host"),
    [
        ("--port {}", "service.port", "127.0.0.1"),
        ("service.port={}", "service.port", "127.0.0.1"),
        ("--port {free} --grpc-port {}", "service.grpc_port", "0.0.0.0"),
    ],
)
def test_a_port_in_use(
    words: str,
    setting: str,
    host: str,
    released: StateDir,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TEXTHASH_HOME", str(released.root))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.socket() as other, socket.socket() as freed:
        for one in (other, freed):
            one.bind((host, 0))
        other.listen()
        taken, free = other.getsockname()[1], freed.getsockname()[1]
        freed.close()
        with pytest.raises(SystemExit) as ended:
            main(["serve", *words.format(taken, free=free).split()])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert f"error: {host}:{taken} cannot be listened on" in said
    assert f"choose another {setting}" in said
