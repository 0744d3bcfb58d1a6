"""Commands on hashing methods: list them, and show the hyper-parameters of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from texthash.cli.options import Json
from texthash.cli.output import print_json, print_table
from texthash.errors import UsageError

if TYPE_CHECKING:
    from texthash.methods.base import Card

methods_app = typer.Typer(invoke_without_command=True)


@methods_app.callback()
def methods(context: typer.Context, as_json: Json = False) -> None:
    """List the hashing methods; show the hyper-parameters of one. Example: `texthash methods show nash`"""
    if context.invoked_subcommand is not None:
        if as_json:
            raise UsageError(
                f"--json before {context.invoked_subcommand} belongs to the list of methods.", "put it after it."
            )
        return
    from texthash.methods.registry import methods as registered

    rows = [_facts(method.card) for method in registered().values()]
    print_table(rows, as_json, ["name", "survey_entry", "venue", "supervision", "fidelity", "title"])


@methods_app.command("show")
def methods_show(
    name: Annotated[str, typer.Argument(help="Name of a method, as `texthash methods` lists them.")],
    as_json: Json = False,
) -> None:
    """Show the card of a method, and default, other known values, range and meaning of each hyper-parameter.

    Example: `texthash methods show nash --json`
    """
    from texthash.methods.found_settings import found_settings
    from texthash.methods.registry import describe, get_method

    card, rows = get_method(name).card, describe(name)
    paper = card.paper.source if card.paper else None
    tuned = str(found_settings()[name]) if name in found_settings() else None
    if as_json:
        facts = {**_facts(card), "citation": card.citation, "deviations": list(card.deviations)}
        print_json({**facts, "paper": paper, "tuned": tuned, "hyperparameters": rows})
        return
    print(f"{card.name}: {card.title} ({card.venue}; {card.citation})\n")
    print_table([{key: "" if value is None else value for key, value in row.items()} for row in rows], False)
    print(f"\npaper: {paper or 'no printed hyper-parameters are known'}")
    print(f"tuned: {tuned or 'no search has found settings of this method'}")
    for deviation in card.deviations:
        print(f"deviation: {deviation}")


def _facts(card: Card) -> dict[str, Any]:
    return {
        "name": card.name,
        "title": card.title,
        "venue": card.venue,
        "survey_entry": card.survey_entry,
        "tags": list(card.tags),
        "supervision": card.supervision,
        "inputs": ["words", *sorted(card.inputs_needed)],
        "fidelity": card.fidelity,
    }
