"""Pages of both packages, which share no file, have the same colours."""

import re
from importlib import resources


def _palettes(package: str) -> list[str]:
    style = resources.files(package).joinpath("page.css").read_text("utf-8")
    return [
        re.sub(r"\s+", " ", found)
        for found in re.findall(r":root \{(.*?)\}", style, re.S)
    ]


def test_light_and_dark_colours_are_the_same() -> None:
    service = _palettes("diffmask_service.render")
    assert len(service) == 2
    assert service == _palettes("diffmask_training.reports")
