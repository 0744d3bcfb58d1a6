"""What could not be logged because the tracking server was away: kept in files, and sent when it answers again.

runs/unsent/<run>/
    record.json     which server, the run's id there, and what it is started with if the server has not seen it yet
    entries.jsonl   what was logged meanwhile, in order
    files/          artifacts of that time
    refused.jsonl   what the server did not take, each with the reason

Any process that logs to the run adds to it; each asks the server again from time to time, and the first one that is
answered sends all.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from texthash.config import TrackingConfig
from texthash.errors import TexthashError
from texthash.io.atomic import exclusive, read_json, write_json
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking.mlflow_calls import Entry, deliver
from texthash.tracking.offline import found_away, known_away, reachable, tell
from texthash.tracking.store import StoreError, StoreUnavailableError, address_of, check_store, client_of

_RECORD, _ENTRIES, _REFUSED, _FILES = "record.json", "entries.jsonl", "refused.jsonl", "files"
PARENT = "mlflow.parentRunId"
KEY = "texthash.key"


@dataclass(frozen=True)
class Start:
    """What a run is started with."""

    experiment: str
    name: str
    tags: dict[str, str]
    time: int


@dataclass(frozen=True)
class Waiting:
    """A run with something to send.

    Attributes:
        uri: Of its server.
        server: Its id there; None: it has not been started there yet.
        model: Id of the model that it logged, once that is sent.
        start: What it is to be started with, if it began while the server was away.
    """

    uri: str
    server: str | None
    model: str | None = None
    start: Start | None = None


class Outbox:
    """The entries of all runs of a state directory that wait for their servers.

    Args:
        root: Directory; made when something has to wait.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, home: StateDir) -> Outbox:
        return cls(home.runs / "unsent")

    # -- who is known by which name ---------------------------------------------------------------------------

    def server_id(self, run_id: str) -> str:
        """The run's id on the server; the id itself while it has no other."""
        known = self._record(run_id)
        return known.server or run_id if known else run_id

    def here(self, server_id: str) -> str:
        """The id by which this state directory knows a run of the server; most have the same."""
        records = ((folder.name, self._record(folder.name)) for folder in self._folders())
        return next((name for name, known in records if known and known.server == server_id), server_id)

    def model_id(self, run_id: str) -> str | None:
        """Id of the model that was logged to the run while the server was away, and has been sent since."""
        known = self._record(run_id)
        return known.model if known else None

    def find(self, key: str) -> str | None:
        """The run that was started with this key while the server was away."""
        for folder in self._folders():
            known = self._record(folder.name)
            if known and known.start and known.start.tags.get(KEY) == key:
                return folder.name
        return None

    def waiting(self) -> dict[str, int]:
        """Runs with something to send, in the order in which they began to wait, and how many entries each."""
        found = {}
        for folder in self._folders():
            with suppress(FileNotFoundError):  # sent, or removed, by another process meanwhile
                found[folder.name] = len((folder / _ENTRIES).read_text(encoding="utf-8").splitlines())
        return found

    def uri(self, run_id: str) -> str:
        """Server of a run that waits."""
        known = self._record(run_id)
        if known is None:
            raise TexthashError(f"nothing of run {run_id} waits in {self.root}.", "texthash doctor lists what does.")
        return known.uri

    # -- what runs do -----------------------------------------------------------------------------------------

    def begin(self, uri: str, start: Start) -> str:
        """A run that begins while its server is away; gives an id that stands for it here."""
        run_id = uuid.uuid4().hex
        write_json(self.root / run_id / _RECORD, asdict(Waiting(uri, None, start=start)))
        (self.root / run_id / _ENTRIES).touch()
        tell(uri, self.root)
        return run_id

    def put(self, uri: str, run_id: str, entry: Entry) -> str | None:
        """Log an entry: at once, or keep it while the server is away; gives what :func:`deliver` does.

        Raises:
            StoreError: the store refuses it.
        """
        if not self._waits(run_id) and not known_away(uri):
            try:
                return deliver(client_of(uri), self.server_id(run_id), self._translated(entry))
            except StoreUnavailableError as error:
                self.lost(uri, error)
        self._keep(uri, run_id, entry)
        self.settle(uri)
        return None

    def lost(self, uri: str, error: StoreUnavailableError) -> None:
        """A server was found away; the person is told that things wait here."""
        found_away(uri, error, self.root)

    # -- sending ----------------------------------------------------------------------------------------------

    def send_all(self, uri: str | None = None) -> dict[str, int]:
        """Send what waits, for one server or for all; gives how many entries of each run were sent.

        Raises:
            StoreUnavailableError: a server does not answer.
        """
        sent = {}
        for run_id in self.waiting():
            known = self._record(run_id)
            if known is not None and uri in (None, known.uri):  # else another process has sent it meanwhile
                sent[run_id] = self._send(run_id)
        return sent

    def settle(self, uri: str) -> None:
        """Send what waits for a server, if it answers."""
        if self.root.is_dir() and self.waiting() and reachable(uri):
            try:
                self.send_all(uri)
            except StoreUnavailableError as error:
                self.lost(uri, error)

    def _send(self, run_id: str) -> int:
        folder = self.root / run_id
        with exclusive(self.root / ".lock"):
            known = self._record(run_id)
            if known is None or not (folder / _ENTRIES).is_file():  # another process was faster
                return 0
            client = client_of(known.uri)
            server = known.server or self._start_there(run_id, known)
            lines = (folder / _ENTRIES).read_text(encoding="utf-8").splitlines()
            refused = 0
            for number, line in enumerate(lines):
                entry = json.loads(line)
                try:
                    model = deliver(client, server, self._translated(entry, known.model))
                except StoreUnavailableError:
                    _write_lines(folder / _ENTRIES, lines[number:])
                    raise
                except StoreError as error:
                    refused += 1
                    _append(folder / _REFUSED, {**entry, "refused": error.problem})
                    continue
                if model:
                    known = replace(known, server=server, model=model)
                    write_json(folder / _RECORD, asdict(known))
            (folder / _ENTRIES).unlink()
            shutil.rmtree(folder / _FILES, ignore_errors=True)
        log_line(f"mlflow: {known.uri} answers again: {len(lines) - refused} entries of run {server} were sent")
        if refused:
            log_line(f"mlflow: {refused} entries of run {server} were refused; they are in {folder / _REFUSED}")
        elif known.start is None and known.model is None:  # else others find the run, or its model, by this record
            with exclusive(self.root / ".lock"):
                if not (folder / _ENTRIES).is_file():
                    shutil.rmtree(folder, ignore_errors=True)
        return len(lines) - refused

    def _start_there(self, run_id: str, known: Waiting) -> str:
        """Start the run on its server, after the run that it is nested in, unless its key is known there already."""
        assert known.start is not None
        client, start = client_of(known.uri), known.start
        experiment = client.get_experiment_by_name(start.experiment)
        place = experiment.experiment_id if experiment else client.create_experiment(start.experiment)
        server = None
        if key := start.tags.get(KEY):
            there = client.search_runs([place], f"tags.`{KEY}` = '{key}'", max_results=1)
            server = there[0].info.run_id if there else None
        if server is None:
            parent = start.tags.get(PARENT)
            above = self._record(parent) if parent else None
            if parent and above and above.server is None:
                self._start_there(parent, above)
            tags = self._translated({"op": "tags", "values": start.tags})["values"]
            server = client.create_run(place, start_time=start.time, tags=tags, run_name=start.name).info.run_id
        write_json(self.root / run_id / _RECORD, asdict(replace(known, server=server)))
        return str(server)

    def _translated(self, entry: Entry, model: str | None = None) -> Entry:
        """An entry with the ids that the server knows."""
        values = entry.get("values", {})
        if entry["op"] == "tags" and PARENT in values:
            return {**entry, "values": {**values, PARENT: self.server_id(values[PARENT])}}
        if entry["op"] == "metrics":
            return {**entry, "model": entry["model"] or model}
        return entry

    # -- files ------------------------------------------------------------------------------------------------

    def _keep(self, uri: str, run_id: str, entry: Entry) -> None:
        folder = self.root / run_id
        with exclusive(self.root / ".lock"):
            if not (folder / _RECORD).is_file():
                write_json(folder / _RECORD, asdict(Waiting(uri, run_id)))
            if entry["op"] == "artifact":
                entry = {**entry, "path": str(_copied(Path(entry["path"]), folder / _FILES))}
            _append(folder / _ENTRIES, entry)

    def _waits(self, run_id: str) -> bool:
        return (self.root / run_id / _ENTRIES).is_file()

    def _folders(self) -> list[Path]:
        found: list[tuple[float, Path]] = []
        for path in self.root.glob(f"*/{_RECORD}") if self.root.is_dir() else ():
            with suppress(FileNotFoundError):  # removed by another process meanwhile
                found.append((path.parent.stat().st_ctime, path.parent))
        return [folder for _, folder in sorted(found)]

    def _record(self, run_id: str) -> Waiting | None:
        try:
            values: dict[str, Any] = read_json(self.root / run_id / _RECORD)
        except FileNotFoundError:
            return None
        start = values.pop("start")
        return Waiting(**values, start=Start(**start) if start else None)


def _copied(path: Path, folder: Path) -> Path:
    """A copy of a file or directory, under its own name, that outlives it."""
    target = folder / uuid.uuid4().hex[:12] / path.name
    target.parent.mkdir(parents=True)
    shutil.copytree(path, target) if path.is_dir() else shutil.copy2(path, target)
    return target


def _append(path: Path, value: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(value) + "\n")


def _write_lines(path: Path, lines: list[str]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    partial.replace(path)


def open_store(config: TrackingConfig, home: StateDir) -> str:
    """The address of the store; where its server does not answer the person is told, and runs go to the outbox.

    Raises:
        TexthashError: the store cannot be used, and waiting does not mend that.
    """
    uri = address_of(config, home)
    outbox = Outbox.of(home)
    if reachable(uri):
        try:
            check_store(config, home)
        except StoreUnavailableError as error:
            outbox.lost(uri, error)
    return uri
