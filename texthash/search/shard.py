"""One shard in memory: its codes in an index, its labels as postings, its documents left on disk until asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from texthash.errors import ModelMismatchError, TexthashError
from texthash.hamming.kernels import pack_allow, warm
from texthash.home import place
from texthash.search.costs import Plan
from texthash.search.flat import Hits
from texthash.search.multi_index import MultiIndex, join_plans
from texthash.search.store import DOCUMENT_FIELDS, ShardManifest, codes_of, open_documents, read_manifest

if TYPE_CHECKING:
    import lance

_MASKS_KEPT = 64


class Shard:
    """An opened shard. Made by :meth:`open`; it never changes, whatever is written to the dataset later.

    Attributes:
        manifest: What the shard is.
        version: Lance version that was opened.
    """

    def __init__(self, manifest: ShardManifest, dataset: lance.LanceDataset) -> None:
        table = dataset.to_table(columns=["number", "code"])
        numbers = table["number"].to_numpy()
        order = np.argsort(numbers, kind="stable")
        self.manifest = manifest
        self.version: int = dataset.version
        self._dataset = dataset
        # Place of each row of the index in the dataset; rows of the index are ordered by document number.
        self._places = order
        self._index = MultiIndex(codes_of(table["code"], manifest.bits)[order], numbers[order])
        self._masks: OrderedDict[frozenset[str], NDArray[np.uint32]] = OrderedDict()

    @classmethod
    def open(
        cls, path: str | Path, version: int | None = None, *, bits: int | None = None, model: str | None = None
    ) -> Shard:
        """Read the codes and numbers of a shard into memory.

        Args:
            path: Directory or address of the shard.
            version: Lance version; None for the newest.
            bits: Width that its codes have to have, if that matters.
            model: Digest of the model that has to have made them, if that matters.

        Raises:
            TexthashError: the shard or that version is missing, broken or of a later format.
            ModelMismatchError: other bits, or another model.
        """
        path = place(path)
        manifest = read_manifest(path)
        if bits is not None and manifest.bits != bits:
            raise ModelMismatchError(
                f"{path} holds codes of {manifest.bits} bits, {bits} are expected.",
                "use the model that made the index.",
            )
        if model is not None and manifest.model != model:
            raise ModelMismatchError(
                f"{path} was made by model {manifest.model[:12]}, not by {model[:12]}.",
                "use the model that made the index, or build an index with this one.",
            )
        return cls(manifest, open_documents(path, version, manifest.bits))

    def __len__(self) -> int:
        return len(self._index)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Document numbers, int64 [documents], ascending."""
        return self._index.numbers

    def warm(self) -> None:
        """Compile or load the kernels, make the tables and read the labels, so that the first request does not wait."""
        warm(self.manifest.bits)
        self._index.prepare()
        _ = self._postings

    def search(
        self,
        codes: NDArray[np.uint8],
        limit: int,
        offset: int = 0,
        radius: int | None = None,
        labels: Iterable[str] | None = None,
        threads: int = 1,
        plan: Plan = "auto",
    ) -> Hits:
        """The nearest documents of each query, by (distance, number), and how they were found.

        Args:
            codes: Query codes, uint8 [Q, bits / 8].
            limit: Hits per query at most.
            offset: Hits to leave out first.
            radius: Only documents at most so many bits away.
            labels: Only documents with at least one of these labels.
            threads: Threads of one call.
            plan: flat, mih, or auto: whichever is expected to be faster, once :meth:`warm` was called.

        Raises:
            ModelMismatchError: the query codes have another width.
            TexthashError: a plan that does not exist.
        """
        return self._index.search(codes, limit, offset, radius, self._allow(labels), threads, plan)

    def total_within_radius(
        self, codes: NDArray[np.uint8], radius: int, labels: Iterable[str] | None = None, threads: int = 1
    ) -> NDArray[np.int64]:
        """Number of documents within a radius of each query, int64 [Q]. Arguments as :meth:`search`."""
        return self._index.total_within_radius(codes, radius, self._allow(labels), threads)

    def documents(self, numbers: Sequence[int] | NDArray[np.int64], fields: Sequence[str]) -> list[dict[str, Any]]:
        """Documents by number, in the order asked.

        Args:
            numbers: Of documents of this shard.
            fields: Which of title, text, labels and code (bytes) to return beside the id.

        Raises:
            TexthashError: a number that this shard does not hold, or a field that does not exist.
        """
        unknown = set(fields) - {*DOCUMENT_FIELDS, "code"}
        if unknown:
            raise TexthashError(
                f"documents have no field {', '.join(sorted(unknown))}.", f"use {', '.join(DOCUMENT_FIELDS)} or code."
            )
        wanted = np.asarray(numbers, np.int64)
        if not wanted.size:
            return []
        rows = np.minimum(np.searchsorted(self.numbers, wanted), max(0, len(self) - 1))
        if not len(self) or np.any(self.numbers[rows] != wanted):
            raise TexthashError(
                f"shard {self.manifest.shard} does not hold all of the documents {wanted[:5].tolist()}.",
                "ask the shard that found them.",
            )
        places, inverse = np.unique(self._places[rows], return_inverse=True)
        table = self._dataset.take(places, columns=["id", *fields])
        found = table.to_pylist()
        return [found[i] for i in inverse]

    def codes_of(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Stored codes of those documents that this shard holds, by id."""
        if not ids:
            return {}
        table = self._dataset.to_table(columns=["id", "code"], filter=pc.field("id").isin(list(set(ids))))
        return dict(zip(table["id"].to_pylist(), table["code"].to_pylist(), strict=True))

    def _allow(self, labels: Iterable[str] | None) -> NDArray[np.uint32] | None:
        """Mask of the rows that have one of the labels; the last few are kept."""
        if labels is None:
            return None
        key = frozenset(labels)
        mask = self._masks.pop(key, None)
        if mask is None:
            names, starts, rows = self._postings
            allowed = np.zeros(len(self), np.bool_)
            for name in key & names.keys():
                label = names[name]
                allowed[rows[starts[label] : starts[label + 1]]] = True
            mask = pack_allow(allowed)
        self._masks[key] = mask
        if len(self._masks) > _MASKS_KEPT:
            self._masks.popitem(last=False)
        return mask

    @cached_property
    def _postings(self) -> tuple[dict[str, int], NDArray[np.int64], NDArray[np.int64]]:
        """Rows by label: label numbers by name, starts [labels + 1], rows."""
        column = self._dataset.to_table(columns=["labels"])["labels"].combine_chunks()
        values = pc.list_flatten(column).dictionary_encode()
        row_of_place = np.empty(len(self), np.int64)
        row_of_place[self._places] = np.arange(len(self))
        rows = row_of_place[pc.list_parent_indices(column).to_numpy()]
        labels = values.indices.to_numpy()
        starts = np.zeros(len(values.dictionary) + 1, np.int64)
        np.cumsum(np.bincount(labels, minlength=len(values.dictionary)), out=starts[1:])
        names = {name: number for number, name in enumerate(values.dictionary.to_pylist())}
        return names, starts, rows[np.argsort(labels, kind="stable")]


def merge(parts: Sequence[Hits], limit: int, offset: int = 0) -> tuple[Hits, list[NDArray[np.int64]]]:
    """Join what the shards found for the same queries, exactly: by (distance, number).

    Args:
        parts: One per shard, each with at least ``offset + limit`` hits per query where it has so many.
        limit: Hits per query at most.
        offset: Hits to leave out first.

    Returns:
        The hits, and for each query the shard (place in ``parts``) of each hit, int64.
    """
    distances, numbers, shards = [], [], []
    for query in range(len(parts[0])):
        near = np.concatenate([part.distances[query] for part in parts])
        which = np.concatenate([part.numbers[query] for part in parts])
        owner = np.repeat(np.arange(len(parts)), [len(part.numbers[query]) for part in parts])
        order = np.lexsort((which, near))[offset : offset + limit]
        distances.append(near[order])
        numbers.append(which[order])
        shards.append(owner[order])
    known = [part for part in parts if part.plans]
    plans = [join_plans([part.plans[query] for part in known]) for query in range(len(distances) if known else 0)]
    candidates = np.stack([part.candidates for part in known]).sum(axis=0) if known else np.empty(0, np.int64)
    return Hits(distances, numbers, plans, candidates), shards
