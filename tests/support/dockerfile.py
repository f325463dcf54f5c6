"""The Dockerfile as a list of instructions for each stage."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage.

    Attributes:
        base: What it builds on.
        instructions: Name and text of each, in order.
    """

    base: str
    instructions: tuple[tuple[str, str], ...]

    def texts(self, name: str) -> list[str]:
        """Return the texts of all instructions of a name."""
        return [text for each, text in self.instructions if each == name]

    def command(self, name: str) -> list[str]:
        """Return the words of a command in its exec form, which needs no shell."""
        (text,) = self.texts(name)
        words: list[str] = json.loads(text[text.index("[") :])
        return words

    def environment(self) -> dict[str, str]:
        """Return the variables that it sets."""
        (text,) = self.texts("ENV")
        return dict(word.split("=", 1) for word in text.split())


def stages() -> list[Stage]:
    """Return the stages of the Dockerfile, without what stands before them."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: list[Stage] = []
    for part in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]:
        first, *lines = filter(None, map(str.strip, part.splitlines()))
        pairs = (line.partition(" ") for line in lines)
        found.append(
            Stage(
                base=first.split()[0],
                instructions=tuple((name, rest.strip()) for name, _, rest in pairs),
            )
        )
    return found
