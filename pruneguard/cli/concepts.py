"""`pruneguard concepts`: what can be suppressed by name."""

from __future__ import annotations

import click


@click.command("concepts", short_help="List the concepts that can be suppressed by name.")
@click.option("--model", default="atelier", show_default=True, help="The model whose concepts to list.")
def command(model: str) -> None:
    """List the concepts that --concepts takes by name."""
    from rich.console import Console
    from rich.table import Table

    from pruneguard.families import family_of

    family = family_of(model)
    table = Table("name", "prompts", "for example", "drawn instead", title=f"concepts of {family.name} models")
    for name in family.concept_names:
        concept = family.load_concept(name)
        table.add_row(name, str(len(concept.prompts)), concept.prompts[0], concept.anchors[0])
    Console().print(table)
