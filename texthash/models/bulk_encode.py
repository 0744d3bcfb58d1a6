"""Codes of many texts, written to files in pieces that stay when the work is interrupted.

    .<output>.partial/    while it is at work
      record.json         what is encoded, by which model: who goes on with it must mean the same
      parts/              part-<part>-<chunk>.parquet, in order: id, code, known_words, and activations if asked for
      ends/               <part>.json, how many chunks a part has; written after its last one was read

The chunks of a part follow from its documents alone, and a chunk is encoded the same whoever does it, so the bytes
do not depend on the number of workers, nor on interruptions. Pieces name what they read and write, so that Ray's
object store holds no text. A worker holds one chunk. When all are there they become
the output: a folder of these files, or one ``.parquet`` or ``.npy`` file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from texthash.corpora.catalog import Part
from texthash.corpora.document import Document
from texthash.corpora.preparation.reading import check_unicode, chunks
from texthash.corpora.texts import Texts
from texthash.errors import CorpusError, TexthashError
from texthash.executor import Executor, LocalExecutor
from texthash.io.atomic import (
    exclusive,
    publish_directory,
    readable,
    remove_directory,
    whole,
    write_json,
)
from texthash.io.records import read_record, read_typed
from texthash.methods.base import Role
from texthash.models.code_files import (
    RECORD,
    ROWS,
    Record,
    Summary,
    check_form,
    check_same,
    finished,
    join,
    record_of,
    schema,
)
from texthash.models.hasher import Hasher, digest
from texthash.progress import log_line, track

_UNKNOWN = b"texthash.unknown"


@dataclass(frozen=True)
class End:
    """Record that a part was read to its end: the number of its chunks."""

    chunks: int


@dataclass(frozen=True)
class Job:
    """What every worker has to know; it travels to them."""

    hasher: Path
    staged: Path
    role: Role
    activations: bool

    def chunk(self, part: int, number: int) -> Path:
        return self.parts / f"part-{part:05d}-{number:05d}.parquet"

    def end(self, part: int) -> Path:
        return self.staged / "ends" / f"{part:05d}.json"

    @property
    def parts(self) -> Path:
        return self.staged / "parts"

    def is_done(self, part: int) -> bool:
        """Whether all chunks of a part are there."""
        if not self.end(part).exists():
            return False
        try:
            end = read_typed(End, self.end(part), "the part is read again.")
        except TexthashError as error:
            log_line(f"warning: {error.problem} Part {part} is read again")
            return False
        return all(self.chunk(part, number).exists() for number in range(end.chunks))


@dataclass(frozen=True)
class WorkUnit:
    """The chunks of a part that one worker encodes: of every ``turns`` the one number ``turn``.

    Where there are fewer parts than workers (a compressed file is one part), several workers read the same and each
    encodes its share: reading costs much less than encoding.
    """

    number: int
    part: Part
    turn: int = 0
    turns: int = 1


def encode_texts(
    hasher_dir: Path,
    texts: Texts,
    output: Path,
    *,
    role: Role = "document",
    activations: bool = False,
    executor: Executor = LocalExecutor(),
) -> Summary:
    """Encode texts into ``output``. What an interrupted run finished is kept, and an output that is there is left.

    Each text gets a code, in order; one of which the model knows no word has the code of an empty text.

    Args:
        hasher_dir: A model that ``Hasher.save`` wrote.
        texts: From :func:`texthash.corpora.texts.open_texts`.
        output: A folder, or a ``.parquet`` or ``.npy`` file (which keeps no ids); see :func:`texthash.paths.as_path`.
        role: Which side the texts are on.
        activations: Also write the real-valued codes, float32 [bits].
        executor: Encodes the pieces, one model in each worker.

    Raises:
        ModelMismatchError: the output, or what is there of it, is of another model.
        UsageError: it is of other texts, or was not made here, or its suffix is no form that is written.
        CorpusError: naming file and line of a row that cannot be read.
    """
    hasher = Hasher.load(hasher_dir)
    check_form(output, activations)
    corpus = f"{hasher.corpus}/{hasher.edition.name}"
    record = Record(
        digest(hasher_dir),
        hasher.method.card.name,
        hasher.bits,
        corpus,
        texts.name,
        texts.version,
        role,
        activations,
    )
    staged = output.with_name(f".{output.name}.partial")
    with exclusive(output.with_name(f".{output.name}.lock")):
        if not (staged / "record.json").exists() and (output.exists() or record_of(output).exists()):
            found = finished(output, record)
            log_line(f"{output} is there already")
            return found
        _begin(staged, record, output)
        job = Job(hasher_dir, staged, role, activations)
        before = _documents(job)
        pieces = _pieces(job, texts.parts, executor.workers)
        for _ in track(encode_pieces(job, pieces, executor), "encoding", documents=int):
            pass
        return _publish(job, output, record, before)


def encode_pieces(job: Job, pieces: Iterable[WorkUnit], executor: Executor = LocalExecutor()) -> Iterator[int]:
    """Encode pieces, each with one thread; yields numbers of documents as they are done.

    Raises:
        CorpusError: naming file and line.
    """
    tasks = [{"piece": piece} for piece in pieces]
    with one_thread():
        for counts in executor.map_with(partial(_loaded, job, executor.remote), tasks):
            yield from counts


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread of this process meanwhile."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _loaded(job: Job, remote: bool) -> Callable[[WorkUnit], Iterable[int]]:
    """The model, loaded in the process where it encodes. A worker elsewhere has to finish a piece before it returns."""
    import torch

    hasher = Hasher.load(job.hasher)
    if not remote:
        return partial(encode_piece, job, hasher)
    torch.set_num_threads(1)

    def encode(piece: WorkUnit) -> list[int]:
        return list(track(encode_piece(job, hasher, piece), f"encoding part {piece.number}", documents=int))

    return encode


def encode_piece(job: Job, hasher: Hasher, piece: WorkUnit) -> Iterator[int]:
    """Write the chunks of a piece that are not there yet; yields the documents of each as it is.

    Raises:
        CorpusError: naming file and line.
    """
    read = 0
    for number, documents in enumerate(chunks(piece.part())):
        read = number + 1
        path = job.chunk(piece.number, number)
        if number % piece.turns == piece.turn:
            if not path.exists():
                _write(job, hasher, documents, path)
            yield len(documents)
    write_json(job.end(piece.number), asdict(End(read)))


def _write(job: Job, hasher: Hasher, documents: list[Document], path: Path) -> None:
    unknown = 0
    with whole(path) as partial, pq.ParquetWriter(partial, schema(hasher.bits, job.activations)) as writer:
        for start in range(0, len(documents), ROWS):
            table, known = _encoded(job, hasher, documents[start : start + ROWS])
            writer.write_table(table)
            unknown += len(known) - int(known.sum())
        writer.add_key_value_metadata({_UNKNOWN: str(unknown).encode()})


def _encoded(job: Job, hasher: Hasher, documents: list[Document]) -> tuple[pa.Table, np.ndarray]:
    for document in documents:
        check_unicode(document.id, document)
        check_unicode(document.text, document)
    values, known, _ = hasher.read([document.text for document in documents], job.role)
    codes = np.ascontiguousarray(hasher.binarize(values))
    form = schema(hasher.bits, job.activations)
    columns = [
        pa.array([document.id for document in documents], pa.string()),
        pa.FixedSizeBinaryArray.from_buffers(
            form.field("code").type, len(codes), [None, pa.py_buffer(codes.tobytes())]
        ),
        pa.array(known),
    ]
    if job.activations:
        flat = pa.array(values.float().cpu().numpy().ravel())
        columns.append(pa.FixedSizeListArray.from_arrays(flat, hasher.bits))
    return pa.Table.from_arrays(columns, schema=form), known


def _begin(staged: Path, record: Record, output: Path) -> None:
    if (staged / "record.json").exists():
        before = read_record(staged / "record.json", f"delete {staged}, and run the command again.")
        check_same(before, record, f"the unfinished {staged}", str(staged))
        return
    remove_directory(staged)
    write_json(staged / "record.json", asdict(record))
    log_line(f"encoding {record.source} by {record.method}, {record.bits} bits, into {output}")


def _pieces(job: Job, parts: list[Part], workers: int) -> list[WorkUnit]:
    turns = workers if len(parts) < 2 * workers else 1
    waiting = [number for number in range(len(parts)) if not job.is_done(number)]
    if kept := len(parts) - len(waiting):
        log_line(f"{kept} of {len(parts)} parts are done already")
    return [WorkUnit(number, parts[number], turn, turns) for number in waiting for turn in range(turns)]


def _written(job: Job) -> list[Path]:
    return sorted(job.parts.glob("part-*.parquet"), key=str)


def _documents(job: Job) -> int:
    return sum(pq.read_metadata(readable(path)).num_rows for path in _written(job))


def _publish(job: Job, output: Path, record: Record, before: int) -> Summary:
    footers = [pq.read_metadata(readable(path)) for path in _written(job)]
    documents = sum(footer.num_rows for footer in footers)
    unknown = sum(int(footer.metadata[_UNKNOWN]) for footer in footers)
    facts = {"record": asdict(record), "documents": documents, "unknown": unknown}
    if not footers:
        raise CorpusError(f"there is no document in {record.source}.", "name texts that are not empty.")
    if output.suffix:
        join(_written(job), output, record, documents)
        write_json(record_of(output), facts)
    else:
        write_json(job.parts / RECORD, facts)
        publish_directory(job.parts, output, RECORD)
    remove_directory(job.staged)
    return Summary(str(output), documents, unknown, documents - before, record.bits, record.model)
