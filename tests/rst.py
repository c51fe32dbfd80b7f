"""Reading our reStructuredText documents: their snippets, the files these belong to, and their tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree

CHECKOUT = Path(__file__).parent.parent

#: What a paragraph before a snippet calls the file that it is.
FILE_NAME = re.compile(r"[\w.]+\.(py|toml|ini|service|timer)")

#: As ``rst2html --strict``: the slightest complaint is an error.
STRICT = {"halt_level": 1, "report_level": 1, "syntax_highlight": "none", "file_insertion_enabled": False}


class Snippet:
    """A literal block.

    :ivar language: of its ``code-block``; "" for one without.
    :ivar file: the last file that the paragraph before it names, or None.
    """

    def __init__(self, text: str, language: str, file: str | None) -> None:
        self.text, self.language, self.file = text, language, file

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield each command of a shell session with the output that stands below it."""
        for part in re.split(r"^\$ ", self.text, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


class Document:
    """One of our documents, parsed."""

    def __init__(self, name: str) -> None:
        self.name, self.path = name, CHECKOUT / name
        self.tree = publish_doctree(self.path.read_text(encoding="utf-8"), settings_overrides=STRICT)

    def snippets(self, *languages: str) -> list[Snippet]:
        """Return the snippets in these languages, or all of them, in order."""
        found = [self._snippet(node) for node in self.tree.findall(nodes.literal_block)]
        return [snippet for snippet in found if not languages or snippet.language in languages]

    def _snippet(self, node: nodes.literal_block) -> Snippet:
        before = node.parent.children[node.parent.index(node) - 1]
        literals = [literal.astext() for literal in before.findall(nodes.literal)]
        files = [text for text in literals if FILE_NAME.fullmatch(text)]
        language = next((name for name in node["classes"] if name != "code"), "")
        return Snippet(node.astext(), language, files[-1] if files else None)

    def tables(self) -> list[list[list[str]]]:
        """Return the tables: of each its rows, of each its cells."""
        return [
            [[entry.astext() for entry in row.findall(nodes.entry)] for row in table.findall(nodes.row)]
            for table in self.tree.findall(nodes.table)
        ]

    def table(self, first_header: str, *, first_cell: str | None = None) -> dict[str, list[str]]:
        """Return the rows of one table by their first cell, its header aside."""
        (table,) = [
            table
            for table in self.tables()
            if table[0][0] == first_header and (first_cell is None or table[1][0] == first_cell)
        ]
        return {row[0]: row[1:] for row in table[1:]}

    def links(self) -> list[str]:
        return [node["refuri"] for node in self.tree.findall(nodes.reference) if "refuri" in node]
