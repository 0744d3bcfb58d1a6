"""Options that several commands share, and what they mean: a configuration, a cluster, a prepared corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from texthash.config import Config, load_config
from texthash.executor import Executor, LocalExecutor, RayExecutor
from texthash.paths import StateDir, resolve_home

if TYPE_CHECKING:
    from texthash.corpora.prepared.corpus import PreparedCorpus

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file; see configs/.")]
Words = Annotated[list[str] | None, typer.Argument(metavar="[METHOD] [section.key=value]...")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[section.key=value]...")]
CorpusName = Annotated[str | None, typer.Option("--corpus", help="As `texthash corpora` lists them; corpus.name.")]
Bits = Annotated[int | None, typer.Option("--bits", help="Length of the code; method.bits.")]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster to work on; `auto` finds one here.")]
Model = Annotated[str, typer.Argument(help="Directory or name of a trained model, or latest.")]


def settings_of(config: Path | None, words: Sequence[str] | None, **named: Any) -> Config:
    """The configuration from a file, named options and the words: a method's name and dotted overrides."""
    keys = {"corpus": "corpus.name", "bits": "method.bits", "seed": "training.seed", "trials": "tuning.trials"}
    overrides = [f"{keys[name]}={value}" for name, value in named.items() if value is not None]
    for word in words or []:
        overrides.append(word if "=" in word else f"method.name={word}")
    loaded = load_config(config, overrides)
    from texthash.methods.registry import resolved

    resolved(loaded)  # before hours of work, not after
    return loaded


@contextmanager
def on_ray(address: str | None, *, store_only: bool = False, workers: int | None = None) -> Iterator[Executor]:
    """Connect to a cluster where an address is given (``local``: to a new one); yield what runs tasks there, or here.

    Its nodes have to share the state directory and the store, or with ``store_only`` the store alone.
    """
    if address is None:
        yield LocalExecutor()
        return
    from texthash.cluster import check_shared, cluster

    with cluster(None if address == "local" else address):
        home = resolve_home()
        check_shared(*(() if store_only else (home.root,)), home.store)
        yield RayExecutor(workers)


def prepared_corpus(settings: Config, home: StateDir, executor: Executor) -> PreparedCorpus:
    """The prepared corpus of a configuration; prepared first if need be."""
    from texthash.experiments.experiment import prepare as prepare_corpus

    return prepare_corpus(settings, home, executor=executor)
