r"""Stanford Sentiment Treebank: bracketed trees to labelled phrases.

Source: Socher et al. 2013; one tree a line, every node `(label children)`, every leaf
`(label token)`, brackets inside the text written `-LRB-` and `-RRB-`, a slash `\/`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diffmask_training.errors import DataError

_PIECE = re.compile(r"\(|\)|[^\s()]+")
_ESCAPES = {"-LRB-": "(", "-RRB-": ")"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A labelled phrase of a tree.

    Attributes:
        sentiment: Class from 0 (very negative) to 4 (very positive).
        text: Its tokens joined by single spaces, escapes undone.
    """

    sentiment: int
    text: str


def read_trees(text: str, path: Path) -> Iterator[list[Node]]:
    """Yield the nodes of each tree, the root first.

    Args:
        text: The file's content.
        path: Its name, for error messages.

    Raises:
        DataError: A line is not one balanced tree; the message names file and line.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _nodes(line, f"{path}, line {number}")


def _nodes(line: str, where: str) -> list[Node]:
    # Each open node is (sentiment, index of its first token, place in the result);
    # places are taken on the way down, so that the root comes first.
    tokens: list[str] = []
    opened: list[tuple[int, int, int]] = []
    nodes: list[Node | None] = []
    pieces = _PIECE.findall(line)
    position = 0
    while position < len(pieces):
        piece = pieces[position]
        if piece == "(":
            label = pieces[position + 1] if position + 1 < len(pieces) else ""
            if label not in {"0", "1", "2", "3", "4"} or (nodes and not opened):
                raise DataError(f"{where}: not one tree with labels from 0 to 4")
            opened.append((int(label), len(tokens), len(nodes)))
            nodes.append(None)
            position += 1
        elif piece == ")":
            if not opened:
                raise DataError(f"{where}: a bracket closes that was never opened")
            sentiment, start, place = opened.pop()
            nodes[place] = Node(sentiment=sentiment, text=" ".join(tokens[start:]))
        else:
            tokens.append(_ESCAPES.get(piece, piece.replace("\\/", "/")))
        position += 1
    complete = [node for node in nodes if node is not None and node.text]
    if opened or not nodes or len(complete) < len(nodes):
        raise DataError(
            f"{where}: not one complete tree; brackets or tokens are missing"
        )
    return complete
