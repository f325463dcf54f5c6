"""Sequences whose items are made when they are asked for, and kept by nobody."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

_Source = TypeVar("_Source")
_Item_co = TypeVar("_Item_co", covariant=True)


class MadeWhenAsked(Sequence[_Item_co], Generic[_Source, _Item_co]):
    """Items made from those of another sequence, each time anew.

    However long the sequence, memory holds the items that somebody works on, and no
    more.

    Attributes:
        source: What items are made from.
        make: Makes one.
    """

    def __init__(
        self, source: Sequence[_Source], make: Callable[[_Source], _Item_co]
    ) -> None:
        self.source = source
        self.make = make

    def __len__(self) -> int:
        return len(self.source)

    @overload
    def __getitem__(self, index: int) -> _Item_co: ...

    @overload
    def __getitem__(self, index: slice) -> list[_Item_co]: ...

    def __getitem__(self, index: int | slice) -> _Item_co | list[_Item_co]:
        if isinstance(index, slice):
            chosen = range(*index.indices(len(self)))
            return [self.make(self.source[number]) for number in chosen]
        return self.make(self.source[index])
