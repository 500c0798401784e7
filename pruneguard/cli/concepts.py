"""`pruneguard concepts`: what can be suppressed by name."""

from __future__ import annotations

import click


@click.command("concepts")
@click.option("--model", default="atelier", show_default=True, help="The model whose concepts to list.")
def command(model: str) -> None:
    """List the concepts that --concepts takes by name."""
    from rich.console import Console
    from rich.table import Table

    from pruneguard.concepts import list_concepts, load_concept
    from pruneguard.stages.settings import family_of

    family = family_of(model)
    table = Table("name", "prompts", "for example", "drawn instead", title=f"concepts of {family} models")
    for name in list_concepts(family):
        concept = load_concept(name, family=family)
        table.add_row(name, str(len(concept.prompts)), concept.prompts[0], concept.anchors[0])
    Console().print(table)
