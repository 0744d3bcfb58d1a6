"""Options that several commands share, and the configuration, cluster and corpus that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from texthash.config import Config, load_config
from texthash.errors import UsageError
from texthash.executor import Executor, LocalExecutor, RayExecutor
from texthash.paths import StateDir, resolve_home

if TYPE_CHECKING:
    from texthash.corpora.prepared.corpus import PreparedCorpus

Filtered = Annotated[
    str | None,
    typer.Option(
        "--filter", help="""Filter as JSON, as in the HTTP API, such as '{"attributes": {"year": {"gte": 2020}}}'."""
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of a table.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file; see configs/.")]
Words = Annotated[list[str] | None, typer.Argument(metavar="[METHOD] [section.key=value]...")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[section.key=value]...")]
CorpusName = Annotated[
    str | None, typer.Option("--corpus", help="Name of a corpus, as `texthash corpora` lists them; corpus.name.")
]
Bits = Annotated[int | None, typer.Option("--bits", help="Number of bits of the code; method.bits.")]
Address = Annotated[
    str | None, typer.Option("--address", help="Address of a Ray cluster to run on; `auto` finds one on this machine.")
]
Model = Annotated[str, typer.Argument(help="Directory or name of a trained model, or latest.")]


def settings_of(config: Path | None, words: Sequence[str] | None, **named: Any) -> Config:
    """Return the configuration from a file, named options, and words: a method's name and dotted overrides."""
    keys = {"corpus": "corpus.name", "bits": "method.bits", "seed": "training.seed", "trials": "tuning.trials"}
    overrides = [f"{keys[name]}={value}" for name, value in named.items() if value is not None]
    names = [word for word in words or [] if "=" not in word]
    if len(names) > 1:
        raise UsageError(f"there are two methods: {' and '.join(names)}.", "name one; other words are key=value.")
    for word in words or []:
        overrides.append(word if "=" in word else f"method.name={word}")
    loaded = load_config(config, overrides)
    from texthash.methods.registry import resolved

    resolved(loaded)  # An invalid hyper-parameter fails here, not after hours of work.
    return loaded


@contextmanager
def on_ray(address: str | None, *, store_only: bool = False, workers: int | None = None) -> Iterator[Executor]:
    """Connect to a cluster for the block, if an address is given; yields the executor of tasks.

    Args:
        address: Address of a cluster; ``local`` starts one; None connects to none.
        store_only: The nodes have to share the store alone, instead of the state directory and the store.
        workers: Number of workers of the executor on Ray; None takes one for each CPU.
    """
    if address is None:
        yield LocalExecutor()
        return
    from texthash.cluster import cluster
    from texthash.nodes import check_shared

    with cluster(None if address == "local" else address):
        home = resolve_home()
        check_shared(*(() if store_only else (home.state,)), home.store)
        yield RayExecutor(workers)


def prepared_corpus(settings: Config, home: StateDir, executor: Executor) -> PreparedCorpus:
    """Return the prepared corpus of a configuration, preparing it if necessary."""
    from texthash.experiments.corpora import prepare as prepare_corpus

    return prepare_corpus(settings, home, executor=executor)
