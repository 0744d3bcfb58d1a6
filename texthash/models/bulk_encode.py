"""Encoding of many texts into files, in chunks that are kept if the work is interrupted.

    .<output>.partial/    directory of unfinished work
      record.json         texts and model, which have to be the same when the work is resumed
      parts/              part-<part>-<chunk>.parquet, in order: id, code, known_words, and optionally activations
      ends/               <part>.json, number of chunks of a part; written after its last document was read

The chunks of a part depend on its documents alone, and every worker encodes a chunk to the same bytes, so the output
depends neither on the number of workers nor on interruptions. Work units contain paths rather than texts, so that Ray's
object store holds no text, and a worker holds one chunk in memory. The finished chunks become the output: a folder of
these files, or one ``.parquet`` or ``.npy`` file.
"""

from __future__ import annotations

import json
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
from texthash.corpora.text_sources import Texts
from texthash.errors import CorpusError, TexthashError
from texthash.executor import Executor, LocalExecutor
from texthash.io.atomic import (
    exclusive,
    is_local,
    publish_directory,
    readable,
    remove_directory,
    whole,
    write_json,
)
from texthash.io.listing import matching
from texthash.io.outputs import check_no_broken_link, check_outside
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
from texthash.models.files import digest
from texthash.models.hasher import Hasher
from texthash.paths import as_path
from texthash.progress import log_line, track

_UNKNOWN = b"texthash.unknown"


@dataclass(frozen=True)
class End:
    """Record of a part that was read to its end: the number of its chunks."""

    chunks: int


@dataclass(frozen=True)
class Job:
    """Settings of every worker; pickled for their processes."""

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
        """Return True if all chunks of a part exist."""
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
    """Chunks of a part that one worker encodes: number ``turn`` of every ``turns``.

    If there are fewer parts than workers (a compressed file is one part), several workers read the same part and each
    encodes its share of the chunks, since reading costs much less than encoding.
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
    """Encode texts into ``output``; resume an interrupted run, and keep an output that is complete.

    Each text gets a code, in order; a text without a known word has the code of an empty text.

    Args:
        hasher_dir: Directory of a saved model.
        texts: Texts from :func:`texthash.corpora.text_sources.open_texts`.
        output: Path of a folder, or of a ``.parquet`` or ``.npy`` file (which has no ids); see
            :func:`texthash.paths.as_path`.
        role: Role of the texts, for methods with two encoders.
        activations: Write the real-valued codes, float32 [bits], too.
        executor: Executor of the work units, with one model in each worker.

    Raises:
        ModelMismatchError: The output, finished or not, is of another model.
        UsageError: The output is of other texts or was not written by this function, or is in the folder of the texts,
            or its suffix is not supported.
        CorpusError: A row cannot be read; the error names file and line.
    """
    hasher = Hasher.load(hasher_dir)
    check_form(output, activations)
    if is_local(output):
        check_no_broken_link(output)
    check_outside(output, as_path(texts.name))
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
        exist = output.exists(), record_of(output).exists()
        if all(exist) or (any(exist) and not (staged / "record.json").exists()):
            found = finished(output, record)
            remove_directory(staged)  # of a run that died after its last step but one
            log_line(f"{output} exists already")
            return found
        _begin(staged, record, output)
        job = Job(hasher_dir, staged, role, activations)
        before = _documents(job)
        pieces = _pieces(job, texts.parts, executor.workers)
        for _ in track(encode_pieces(job, pieces, executor), "encoding", documents=int):
            pass
        return _publish(job, output, record, before)


def encode_pieces(job: Job, pieces: Iterable[WorkUnit], executor: Executor = LocalExecutor()) -> Iterator[int]:
    """Encode work units, each with one thread, and yield the number of documents of each chunk.

    Raises:
        CorpusError: A row cannot be read; the error names file and line.
    """
    tasks = [{"piece": piece} for piece in pieces]
    with one_thread():
        for counts in executor.map_with(partial(_loaded, job, executor.remote), tasks):
            yield from counts


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread of this process during the block."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _loaded(job: Job, remote: bool) -> Callable[[WorkUnit], Iterable[int]]:
    """Load the model in this process, and return the function that encodes a work unit.

    A worker of a cluster encodes a whole unit before it returns, others yield after each chunk.
    """
    import torch

    hasher = Hasher.load(job.hasher)
    if not remote:
        return partial(encode_piece, job, hasher)
    torch.set_num_threads(1)

    def encode(piece: WorkUnit) -> list[int]:
        return list(track(encode_piece(job, hasher, piece), f"encoding part {piece.number}", documents=int))

    return encode


def encode_piece(job: Job, hasher: Hasher, piece: WorkUnit) -> Iterator[int]:
    """Write the missing chunks of a work unit, and yield the number of documents of each.

    Raises:
        CorpusError: A row cannot be read; the error names file and line.
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
    values, known, *_ = hasher.read([document.text for document in documents], job.role)
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
    return matching(job.parts, "part-*.parquet")


def _documents(job: Job) -> int:
    return sum(pq.read_metadata(readable(path)).num_rows for path in _written(job))


def _publish(job: Job, output: Path, record: Record, before: int) -> Summary:
    footers = [pq.read_metadata(readable(path)) for path in _written(job)]
    documents = sum(footer.num_rows for footer in footers)
    unknown = sum(int(footer.metadata[_UNKNOWN]) for footer in footers)
    facts = {"record": asdict(record), "documents": documents, "unknown": unknown}
    if not footers:
        remove_directory(job.staged)
        raise CorpusError(f"{record.source} has no documents.", "name a source with texts that are not empty.")
    if output.suffix:
        with whole(output) as partial, whole(record_of(output)) as beside:
            join(_written(job), partial, output.suffix, record, documents)
            beside.write_text(json.dumps(facts, ensure_ascii=False, sort_keys=True), encoding="utf-8")
    else:
        write_json(job.parts / RECORD, facts)
        publish_directory(job.parts, output, RECORD)
    remove_directory(job.staged)
    return Summary(str(output), documents, unknown, documents - before, record.bits, record.model)
