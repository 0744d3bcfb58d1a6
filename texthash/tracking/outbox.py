"""Outbox of log entries for an unavailable tracking server: kept in files, and sent when the server answers again.

runs/unsent/<run>/
    record.json     server, id of the run there, and its start if the run does not exist on the server yet
    entries.jsonl   entries logged during the outage, in order
    files/          artifacts logged during the outage
    refused.jsonl   entries that the server rejected, each with the reason

Every process that logs to the run appends to it. Each retries the server from time to time, and the first one that
gets an answer sends all entries.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from texthash.config import TrackingConfig
from texthash.errors import TexthashError
from texthash.io.atomic import exclusive, write_json, write_text
from texthash.io.folders import copy_whole
from texthash.io.listing import matching
from texthash.paths import StateDir
from texthash.progress import log_line
from texthash.tracking import refused
from texthash.tracking.failures import StoreError, StoreFullError, StoreUnavailableError
from texthash.tracking.mlflow_calls import Entry, deliver
from texthash.tracking.offline import known_unavailable, mark_available, mark_unavailable, notify_once, reachable
from texthash.tracking.store import address_of, check_store, client_of, server_responds
from texthash.tracking.unsent import (
    ENTRIES,
    FILES,
    RECORD,
    REFUSED,
    PendingRun,
    RunStart,
    append_line,
    lines_of,
    read_entry,
    read_pending,
    readable_pending,
)

PARENT = "mlflow.parentRunId"
KEY = "texthash.key"
# Codes of MLflow for an entry or a run that it does not accept, whoever keeps the store.
_VERDICTS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "BAD_REQUEST")


class Outbox:
    """Unsent entries of all runs of a state directory.

    Args:
        root: Directory of the outbox; created with the first entry.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, home: StateDir) -> Outbox:
        """Return the outbox of a state directory."""
        return cls(home.runs / "unsent")

    # -- ids --------------------------------------------------------------------------------------------------

    def server_id(self, run_id: str) -> str:
        """Return the run's id on the server; the local id if there is no other."""
        known = self._record(run_id)
        return known.server or run_id if known else run_id

    def local_id(self, server_id: str) -> str:
        """Return the local id of a run of the server; for most runs the two are equal."""
        records = ((folder.name, readable_pending(self.root, folder.name)) for folder in self._folders())
        return next((name for name, known in records if known and known.server == server_id), server_id)

    def model_id(self, run_id: str) -> str | None:
        """Return the id of the model that was logged to the run during an outage and has been sent since."""
        known = self._record(run_id)
        return known.model if known else None

    def find(self, key: str) -> str | None:
        """Return the newest run that was started with this key during an outage and has not finished; None if none."""
        found = []
        for folder in self._folders():
            known = readable_pending(self.root, folder.name)
            if known and known.start and known.start.tags.get(KEY) == key and self._is_unfinished(folder):
                found.append((known.start.time, folder.name))
        return max(found, default=(0, None))[1]

    @staticmethod
    def _is_unfinished(folder: Path) -> bool:
        """Return whether a run has unsent entries, of which the last one on its status does not say that it is done."""
        try:
            lines = lines_of(folder / ENTRIES)
        except FileNotFoundError:
            return False
        return next(('"FINISHED"' not in line for line in reversed(lines) if line.startswith('{"op": "status"')), True)

    def pending(self) -> dict[str, int]:
        """Return the number of unsent entries by run, oldest run first."""
        counts = {}
        for folder in self._folders():
            with suppress(FileNotFoundError):  # another process has sent or removed it meanwhile
                counts[folder.name] = len(lines_of(folder / ENTRIES))
        return counts

    def refused(self) -> dict[str, int]:
        """Return the number of entries by run that their server has rejected."""
        return refused.counted(self.root)

    def uri(self, run_id: str) -> str:
        """Return the address of the server of a run with unsent entries.

        Raises:
            TexthashError: The run has none.
        """
        known = self._record(run_id)
        if known is None:
            raise TexthashError(
                f"run {run_id} has no unsent entries in {self.root}.", "`texthash doctor` shows unsent runs."
            )
        return known.uri

    # -- logging ----------------------------------------------------------------------------------------------

    def begin(self, uri: str, start: RunStart) -> str:
        """Start a run during an outage; return its local id."""
        run_id = uuid.uuid4().hex
        (self.root / run_id).mkdir(parents=True)
        (self.root / run_id / ENTRIES).touch()  # before the record, with which the run is known to others
        write_json(self.root / run_id / RECORD, asdict(PendingRun(uri, None, start=start)))
        notify_once(uri, self.root)
        return run_id

    def put(self, uri: str, run_id: str, entry: Entry) -> str | None:
        """Log an entry now, or keep it while the server is unavailable; return the result of :func:`deliver`.

        An entry that the store rejects, for instance since somebody has deleted the run, is set aside and reported: the
        work that it tells of goes on.

        Raises:
            StoreError: A store without a server fails.
        """
        if not self._is_pending(run_id) and not known_unavailable(uri):
            try:
                return deliver(client_of(uri), self.server_id(run_id), self._translated(entry))
            except StoreUnavailableError as error:
                self.store_failed(uri, error)
            except StoreError as error:
                if isinstance(error, StoreFullError) or not (uri.startswith("http") or error.code in _VERDICTS):
                    raise
                self._keep(uri, run_id, entry, refused_because=error)
                return None
        self._keep(uri, run_id, entry)
        self.flush(uri)
        return None

    def store_failed(self, uri: str, error: StoreError) -> None:
        """Record that a server is unavailable, and report that entries are kept here."""
        mark_unavailable(uri, error, self.root)

    # -- sending ----------------------------------------------------------------------------------------------

    def send_all(self, uri: str | None = None) -> dict[str, int]:
        """Send the entries for one server or for all; return the number of entries sent by run.

        A run that cannot be started on its server, or of which the server cannot take an entry, does not keep back the
        others: its entries stay, and it is reported.

        Raises:
            StoreUnavailableError: A server does not answer.
            StoreFullError: The disk of a store is full; what is not sent stays.
        """
        sent: dict[str, int] = {}
        failed: StoreUnavailableError | None = None
        for run_id in self.pending():
            known = readable_pending(self.root, run_id)
            if known is not None and uri in (None, known.uri):  # without a record, another process has sent it
                try:
                    sent[run_id] = self._send(run_id)
                except StoreFullError:
                    raise
                except StoreError as error:
                    if isinstance(error, StoreUnavailableError):
                        if not server_responds(known.uri):
                            raise
                        failed = failed or error
                    self._report_stuck(run_id, error)
        if failed is not None:
            raise failed
        return sent

    def send_refused_again(self) -> None:
        """Let the entries that a server has rejected be sent again, for instance after its run was restored."""
        for run_id in self.refused():
            with exclusive(self.root / ".lock"):
                if refused.has_refused(self.root / run_id):
                    refused.put_back(self.root / run_id)

    def _report_stuck(self, run_id: str, error: StoreError) -> None:
        folder = self.root / run_id
        refused.report_once(
            folder / ENTRIES,
            f"run {run_id} cannot be sent: {error.problem}",
            f"its entries stay in {folder}; `texthash sync` tries again, and deleting the directory gives them up",
        )

    def flush(self, uri: str) -> None:
        """Send the entries for a server, if it answers."""
        if self.root.is_dir() and self.pending() and reachable(uri):
            try:
                self.send_all(uri)
            except (StoreUnavailableError, StoreFullError) as error:
                self.store_failed(uri, error)

    def _send(self, run_id: str) -> int:
        folder = self.root / run_id
        with exclusive(self.root / ".lock"):
            known = self._record(run_id)
            if known is None or not (folder / ENTRIES).is_file():  # another process was faster
                return 0
            client = client_of(known.uri)
            server = known.server or self._start_on_server(run_id, known)
            lines = lines_of(folder / ENTRIES)
            rejected = 0
            for number, line in enumerate(lines):
                try:
                    entry = read_entry(line, folder / FILES)
                except ValueError as error:  # left by a process that was killed, or by damage of the disk
                    rejected += 1
                    refused.set_aside(folder, {"line": line}, str(error))
                    continue
                try:
                    model = deliver(client, server, self._translated(entry, known.model))
                except (StoreUnavailableError, StoreFullError, OSError):
                    with suppress(OSError):  # also full: those before are sent again
                        write_text(folder / ENTRIES, "".join(f"{left}\n" for left in lines[number:]))
                    raise
                except StoreError as error:
                    rejected += 1
                    refused.set_aside(folder, entry, error.problem)
                    continue
                if model:
                    known = replace(known, server=server, model=model)
                    write_json(folder / RECORD, asdict(known))
            (folder / ENTRIES).unlink()
            refused.remove_sent_files(folder)
        log_line(f"mlflow: {known.uri} answers again: {len(lines) - rejected} entries of run {server} were sent")
        mark_available(known.uri)
        if rejected:
            log_line(f"mlflow: {rejected} entries of run {server} were refused; they are in {folder / REFUSED}")
        elif known.start is None and known.model is None:  # a run started or a model logged offline needs the record
            with exclusive(self.root / ".lock"):
                if not (folder / ENTRIES).is_file() and not refused.has_refused(folder):
                    shutil.rmtree(folder, ignore_errors=True)
        return len(lines) - rejected

    def _start_on_server(self, run_id: str, known: PendingRun) -> str:
        """Start the run on its server, after its parent, unless a run with its key exists there; return its id."""
        assert known.start is not None
        client, start = client_of(known.uri), known.start
        experiment = client.get_experiment_by_name(start.experiment)
        identity = experiment.experiment_id if experiment else client.create_experiment(start.experiment)
        server = None
        if key := start.tags.get(KEY):
            existing = client.search_runs([identity], f"tags.`{KEY}` = '{key}'", max_results=1)
            server = existing[0].info.run_id if existing else None
        if server is None:
            parent = start.tags.get(PARENT)
            above = self._record(parent) if parent else None
            if parent and above and above.server is None:
                self._start_on_server(parent, above)
            tags = self._translated({"op": "tags", "values": start.tags})["values"]
            server = client.create_run(identity, start_time=start.time, tags=tags, run_name=start.name).info.run_id
        write_json(self.root / run_id / RECORD, asdict(replace(known, server=server)))
        return str(server)

    def _translated(self, entry: Entry, model: str | None = None) -> Entry:
        """Return an entry with local ids replaced by those of the server."""
        values = entry.get("values", {})
        if entry["op"] == "tags" and PARENT in values:
            return {**entry, "values": {**values, PARENT: self.server_id(values[PARENT])}}
        if entry["op"] == "metrics":
            return {**entry, "model": entry["model"] or model}
        return entry

    # -- files ------------------------------------------------------------------------------------------------

    def _keep(self, uri: str, run_id: str, entry: Entry, refused_because: StoreError | None = None) -> None:
        folder = self.root / run_id
        with exclusive(self.root / ".lock"):
            if not (folder / RECORD).is_file():
                write_json(folder / RECORD, asdict(PendingRun(uri, run_id)))
            if entry["op"] == "artifact":
                entry = {**entry, "path": str(_copy_of(Path(entry["path"]), folder / FILES))}
            if refused_because is None:
                append_line(folder / ENTRIES, entry)
                return
            refused.set_aside(folder, entry, refused_because.problem)
        refused.report_once(
            folder / REFUSED,
            f"{uri} refuses entries of run {run_id}: {refused_because.problem}",
            f"the command continues; they are kept in {folder / REFUSED}. `texthash sync --refused` sends them again, "
            f"for instance after `mlflow runs restore --run-id {self.server_id(run_id)}` of a deleted run",
        )

    def _is_pending(self, run_id: str) -> bool:
        return (self.root / run_id / ENTRIES).is_file()

    def _folders(self) -> list[Path]:
        found: list[tuple[float, Path]] = []
        for path in matching(self.root, f"*/{RECORD}"):
            with suppress(FileNotFoundError):  # another process has removed it meanwhile
                found.append((path.parent.stat().st_ctime, path.parent))
        return [folder for _, folder in sorted(found)]

    def _record(self, run_id: str) -> PendingRun | None:
        return read_pending(self.root, run_id)


def _copy_of(path: Path, folder: Path) -> Path:
    """Copy a file or directory into the folder, under its own name; return the copy's path."""
    target = folder / uuid.uuid4().hex[:12] / path.name
    target.parent.mkdir(parents=True)
    copy_whole(path, target)
    return target


def open_store(config: TrackingConfig, home: StateDir) -> str:
    """Return the address of the store; if its server does not answer, report it and keep log entries in the outbox.

    Raises:
        TexthashError: The store cannot be used, and a retry would not help.
    """
    uri = address_of(config, home)
    outbox = Outbox.of(home)
    if reachable(uri):
        try:
            check_store(config, home)
        except StoreUnavailableError as error:
            outbox.store_failed(uri, error)
    return uri
