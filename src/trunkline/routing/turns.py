"""A queue that is fair to those who wait in it: each in turn, however many places one has taken."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Items in the order of their coming, one of each owner after the other."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, owner: str, item: T) -> None:
        """Put an item at the end of its owner's."""
        self._owners.setdefault(owner, OrderedDict())[item] = None
        self._count += 1

    def discard(self, owner: str, item: T) -> None:
        """Take an item out, if it is there."""
        items = self._owners.get(owner)
        if items is not None and item in items:
            del items[item]
            self._count -= 1
            if not items:
                del self._owners[owner]

    def pop(self) -> T:
        """Take the first item of whoever's turn it is.

        Raises:
            KeyError: nobody waits.
        """
        owner, items = self._owners.popitem(last=False)
        item, _ = items.popitem(last=False)
        if items:
            self._owners[owner] = items
        self._count -= 1
        return item

    def ahead(self, owner: str) -> int:
        """Return how many will have their turn before an item that `owner` adds now."""
        place = len(self._owners.get(owner, ())) + 1
        return sum(min(len(items), place) for items in self._owners.values())

    def pop_last_of_greediest(self, owner: str) -> T | None:
        """Take the last item of whoever has the most, if that is more than `owner` would have."""
        if not self._owners:
            return None
        greediest = max(self._owners, key=lambda name: len(self._owners[name]))
        items = self._owners[greediest]
        if len(items) <= len(self._owners.get(owner, ())) + 1:
            return None
        item, _ = items.popitem()
        self._count -= 1
        return item
