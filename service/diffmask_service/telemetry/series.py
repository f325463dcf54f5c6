"""Families and series: who may make them, and how a model's go again.

A family is a metric's name; a series one set of label values of it. All series of a
model are made when it is loaded, at zero, with values that the bundle and the code name
and no caller can: traffic makes none.

Histograms have classic buckets, the same in every server, so that replicas add up. The
text format cannot carry native ones, and the Python client does not make them.
"""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import RestrictedRegistry

from diffmask_service.core.values import ModelIdentity
from diffmask_service.telemetry.ledger import Ledger

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_MODEL_LABELS = ("model", "version")
_Family = TypeVar("_Family", bound=MetricWrapperBase)
_Event = TypeVar("_Event")
_Read: TypeAlias = Callable[[], float]


class SeriesRegistry(CollectorRegistry):
    """A registry that shows no time of creation for each series.

    The client would add one to each counter and histogram, 40 % more series that nobody
    asks for; its own switch is a global of the process.

    Attributes:
        gatherers: Called before anything is shown, from the thread of the scrape: they
            bring those counters up to date that are summed elsewhere.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gatherers: list[Callable[[], None]] = []

    def restricted_registry(self, names: Iterable[str]) -> RestrictedRegistry:
        """Return what shows some of the families."""
        self._gather()
        return super().restricted_registry(names)

    def _gather(self) -> None:
        for gather in tuple(self.gatherers):
            gather()

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        self._gather()
        for family in super().collect():
            family.samples = [
                sample
                for sample in family.samples
                if not sample.name.endswith("_created")
            ]
            yield family


class Families:
    """The families of one registry, each made when it is first asked for.

    Args:
        registry: Where they are shown.
    """

    def __init__(self, registry: SeriesRegistry) -> None:
        self._registry = registry
        self._families: dict[str, Any] = {}
        # Two engines serve the same version while one takes over from the other, and
        # share most of their series.
        self._users: Tally[tuple[str, tuple[str, ...]]] = Tally()
        self.reads: defaultdict[tuple[str, str, str], list[_Read]] = defaultdict(list)

    def get(
        self,
        kind: type[_Family],
        name: str,
        meaning: str,
        labels: Sequence[str],
        **options: Any,
    ) -> _Family:
        """Return the family of a name."""
        if name not in self._families:
            self._families[name] = kind(
                name, meaning, labels, registry=self._registry, **options
            )
        family: _Family = self._families[name]
        return family

    def gather_with(self, gather: Callable[[], None]) -> None:
        """Have counters brought up to date before they are shown."""
        self._registry.gatherers.append(gather)

    def gather_last(self, gather: Callable[[], None]) -> None:
        """Bring them up to date once more, and no more after that."""
        self._registry.gatherers.remove(gather)
        gather()

    def take(self, name: str, values: tuple[str, ...]) -> Any:
        """Return one series of a family, to be dropped when it is of no more use.

        Args:
            name: Of the family, which was made before.
            values: Of all its labels.
        """
        self._users[name, values] += 1
        return self._families[name].labels(*values)

    def drop(self, name: str, values: tuple[str, ...]) -> None:
        """Remove a series, unless somebody else has taken it as well."""
        self._users[name, values] -= 1
        if not self._users[name, values]:
            del self._users[name, values]
            self._families[name].remove(*values)


class ModelSeries:
    """Makes the series of one version of a model, at zero.

    Args:
        families: Of the server.
        identity: Which model.
    """

    def __init__(self, families: Families, identity: ModelIdentity) -> None:
        self._families = families
        self._labels = (identity.id, identity.version)
        self._made: list[tuple[str, tuple[str, ...]]] = []
        self._ledgers: list[Ledger[Any]] = []
        self._shown: list[tuple[str, _Read]] = []

    def ledger(
        self, count: Callable[[Sequence[_Event]], None], *, room: int | None = None
    ) -> Ledger[_Event]:
        """Return where events are noted that these series count.

        Args:
            count: Counts them; called from the thread of a scrape as well.
            room: So many may wait; None for the default.
        """
        ledger = Ledger(count) if room is None else Ledger(count, room=room)
        self._ledgers.append(ledger)
        self._families.gather_with(ledger.settle)
        return ledger

    def show(
        self,
        name: str,
        meaning: str,
        read: _Read,
        *,
        join: Callable[[Iterable[float]], float] = sum,
    ) -> None:
        """Show a value that is read at each scrape.

        While two engines serve the same version, what both say is joined: neither may
        write over the other.

        Args:
            name: Of the gauge.
            meaning: Likewise.
            read: Returns the value; called from the thread of a scrape.
            join: Makes one value of several.
        """
        reads = self._families.reads[name, *self._labels]
        reads.append(read)
        self._shown.append((name, read))
        self.gauge(name, meaning).set_function(
            lambda: join([each() for each in tuple(reads)])
        )

    def make(
        self,
        kind: type[_Family],
        name: str,
        meaning: str,
        values: Sequence[tuple[str, str]] = (),
        **options: Any,
    ) -> _Family:
        """Return one series.

        Args:
            kind: Type of the metric.
            name: Of its family.
            meaning: Of its family.
            values: Further labels, each with its value.
            **options: Of its family.
        """
        labels = (*_MODEL_LABELS, *(label for label, _ in values))
        self._families.get(kind, name, meaning, labels, **options)
        self._made.append((name, (*self._labels, *(value for _, value in values))))
        series: _Family = self._families.take(*self._made[-1])
        return series

    def counter(self, name: str, meaning: str) -> Counter:
        """Return a counter without further labels."""
        return self.make(Counter, name, meaning)

    def counters(
        self, name: str, meaning: str, label: str, values: Sequence[str]
    ) -> dict[str, Counter]:
        """Return a counter for each value of a label."""
        return {v: self.make(Counter, name, meaning, [(label, v)]) for v in values}

    def gauge(self, name: str, meaning: str) -> Gauge:
        """Return a gauge without further labels."""
        return self.make(Gauge, name, meaning)

    def histogram(
        self, name: str, meaning: str, buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        """Return a histogram without further labels."""
        return self.make(Histogram, name, meaning, buckets=buckets)

    def remove(self) -> None:
        """Remove the series, but those that another engine of the version has too."""
        while self._ledgers:
            self._families.gather_last(self._ledgers.pop().settle)
        while self._made:
            self._families.drop(*self._made.pop())
        # Only now: until then a scrape may ask for the values.
        while self._shown:
            name, read = self._shown.pop()
            reads = self._families.reads[name, *self._labels]
            reads.remove(read)
            if not reads:
                del self._families.reads[name, *self._labels]
