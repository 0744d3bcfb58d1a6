"""Runs work in two processes that train together, without a cluster."""

import faulthandler
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessExitedException, spawn

from texthash.corpora.prepared.corpus import CorpusShape, PreparedCorpus
from texthash.corpora.prepared.embeddings.encoder import split_identity
from texthash.corpora.prepared.embeddings.stored import META, read_stored
from texthash.methods.registry import get_method


def corpus_for(name: str, corpus: PreparedCorpus) -> PreparedCorpus:
    """The corpus itself, or, for a method that learns from pairs, the one with questions that is prepared beside it."""
    if "pairs" not in get_method(name).card.inputs_needed:
        return corpus
    return PreparedCorpus.open(corpus.path.parents[1] / "pairs" / corpus.path.name)


def encoder_for(name: str, corpus: PreparedCorpus) -> str | None:
    """The source of the vectors that are stored with a corpus, for a method that needs them; else None."""
    if "dense" not in get_method(name).card.inputs_needed:
        return None
    stored = [read_stored(path.parent).encoder for path in corpus.cache.glob(f"features/*/{META}")]
    (found,) = (encoder for encoder in stored if Path(split_identity(encoder)[0]).name == "random")  # of encoded_shape
    return found


def shape_for(name: str, corpus: PreparedCorpus) -> CorpusShape:
    """The shape of a corpus, with vectors for a method that needs them."""
    return corpus.shape_with(encoder_for(name, corpus))


def in_two_processes(work, cases, corpus, folder):
    """What ``work(case, corpus, rank, workers)`` gives the first of two processes, by case.

    Args:
        work: A function of a module, so that it can be pickled.
        cases: In the order in which both processes work on them.
        corpus: The prepared corpus, which each process opens itself.
        folder: A directory of its own.
    """
    try:
        spawn(_process, (work, list(cases), corpus.path, folder), nprocs=2)
    except ProcessExitedException as error:
        for rank in range(2):
            error.add_note(f"process {rank} was in:\n{(folder / f'{rank}.trace').read_text() or 'no fault of its own'}")
        raise
    return {case: torch.load(folder / f"{case}.pt", weights_only=False) for case in cases}


def _process(rank, work, cases, path, folder):
    trace = (folder / f"{rank}.trace").open("w", encoding="utf-8")
    faulthandler.enable(trace)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)  # as a worker of Ray Train has
    corpus = PreparedCorpus.open(path)
    for case in cases:
        found = work(case, corpus, rank, 2)
        if rank == 0:
            torch.save(found, folder / f"{case}.pt")
    dist.barrier()  # else the first to leave breaks a connection that the other still reads
    dist.destroy_process_group()
    # Threads of gloo may still free tensors while the interpreter is being torn down, which aborts the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
