"""Records that several writers of one name put on disk at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from texthash.io.fsync import replace_durably, write_once

_WRITERS = 8
_ROUNDS = 20


def test_writers_that_share_a_process_number_do_not_share_a_file(tmp_path: Path) -> None:
    """Nodes that share a home may have the same process number, as threads of one process have."""
    together = Barrier(_WRITERS)

    def write(writer: int) -> list[bool]:
        taken = []
        for turn in range(_ROUNDS):
            record = {"writer": writer, "filling": str(writer) * 20_000}
            together.wait(60)
            try:
                taken.append(write_once(tmp_path / f"r{turn}.json", record))
                replace_durably(tmp_path / "current", record)
            except BaseException:
                together.abort()  # nobody waits for this writer
                raise
        return taken

    with ThreadPoolExecutor(_WRITERS) as pool:
        taken = list(pool.map(write, range(_WRITERS)))
    for turn in range(_ROUNDS):
        winner = [made[turn] for made in taken].index(True)
        assert sum(made[turn] for made in taken) == 1
        assert json.loads((tmp_path / f"r{turn}.json").read_text())["filling"] == str(winner) * 20_000
    current = json.loads((tmp_path / "current").read_text())
    assert current["filling"] == str(current["writer"]) * 20_000
    assert len(list(tmp_path.iterdir())) == _ROUNDS + 1, "a temporary file is left"
