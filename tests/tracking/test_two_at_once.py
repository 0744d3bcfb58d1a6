"""Two processes that keep entries of one run while its server does not answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from texthash.tracking.outbox import Outbox

AWAY = "http://127.0.0.1:1"
LOG = """
import sys
from pathlib import Path
from texthash.tracking.outbox import Outbox
from texthash.tracking.offline import mark_unavailable
from texthash.tracking.failures import StoreUnavailableError
outbox = Outbox(Path(sys.argv[1]))
outbox.store_failed(sys.argv[2], StoreUnavailableError("the store does not answer", ""))
for step in range(100):
    outbox.put(sys.argv[2], "shared", {"op": "metrics", "values": {sys.argv[3]: float(step)}, "time": 1, "step": step,
                                       "model": None})
"""


def test_no_entry_of_either_is_lost_or_torn(tmp_path: Path) -> None:
    from texthash.tracking.unsent import ENTRIES, FILES, read_entry

    programs = [
        subprocess.Popen([sys.executable, "-c", LOG, str(tmp_path), AWAY, name], stderr=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    ends = [program.communicate()[1] for program in programs]
    assert [program.returncode for program in programs] == [0, 0], ends
    assert Outbox(tmp_path).pending() == {"shared": 200}
    lines = (tmp_path / "shared" / ENTRIES).read_text().splitlines()
    entries = [read_entry(line, tmp_path / "shared" / FILES) for line in lines]
    for name in ("a", "b"):
        assert [e["step"] for e in entries if name in e["values"]] == list(range(100))
