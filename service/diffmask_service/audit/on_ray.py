"""Parts of an audit made on a Ray cluster, with Ray Data; needs the extra `ray`.

What travels is the bundle, once, then numbers of parts, and encoded parts back. Every
worker reads the rows of its parts itself, so the input's path must lead to the same
files on all machines, which is checked. Ray Data's own readers would number and part
rows in other ways than the audit does.

The bytes of a part depend on the bundle and its rows alone, so it does not matter who
made it, or how often: a worker that dies is replaced, and its part is made again. Kinds
of processors and releases of ONNX Runtime round differently, so a worker whose machine
gives other bits than the one that asks is refused.
"""

import asyncio
import hashlib
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pyarrow as pa

from diffmask_service.audit.answering import BundleAnswers, audit_limits
from diffmask_service.audit.parts import AuditSettings, EncodedPart, answer, encode
from diffmask_service.audit.rows import Row as InputRow
from diffmask_service.audit.source import Source
from diffmask_service.bundle import Bundle
from diffmask_service.core.values import ModelDescription, TextInput
from diffmask_service.engine import Engine
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.loading import Loaded, load
from diffmask_service.engine.selftest import FETCHES
from diffmask_service.errors import DiffMaskError, InvalidInput, StartError

_MADE = pa.schema(
    {
        "number": pa.int64(),
        "content": pa.large_binary(),
        "num_rows": pa.int64(),
        "num_errors": pa.int64(),
        # Why there is no part; empty where there is one.
        "problem": pa.string(),
    }
)


class PartsOnRay:
    """Parts that the workers of a Ray cluster make.

    Args:
        bundle: What every worker opens.
        precision: Which of its graphs; None for its default.
        num_workers: Workers, >= 1; each takes a core.

    Raises:
        DiffMaskError: The bundle cannot be used.
    """

    def __init__(
        self, bundle: Bundle, *, precision: str | None, num_workers: int
    ) -> None:
        self._bundle = bundle
        self._precision = precision
        self._num_workers = num_workers
        loaded = load(bundle, precision=precision)
        self._model = loaded.description
        self._bits = digest_of_bits(bundle, loaded)

    @property
    def model(self) -> ModelDescription:
        """The bundle's model."""
        return self._model

    async def make(
        self,
        source: Source,
        settings: AuditSettings,
        *,
        start: int,
        deliver: Callable[[EncodedPart], None],
        on_row: Callable[[int], None],
    ) -> None:
        """Make every part from a row on.

        Raises:
            StartError: The cluster failed.
        """
        first = start // settings.rows_per_part
        num_parts = -(-source.num_rows // settings.rows_per_part)
        stopped = threading.Event()

        def work() -> None:
            for part in self._make(source, settings, range(first, num_parts)):
                if stopped.is_set():
                    return
                deliver(part)
                on_row(part.num_rows)

        try:
            await asyncio.to_thread(work)
        finally:
            stopped.set()

    def _make(
        self, source: Source, settings: AuditSettings, numbers: Sequence[int]
    ) -> Iterator[EncodedPart]:
        if not numbers:
            return
        ray = _import_ray()
        bundle = ray.put(self._bundle)
        arguments = {
            # In a list Ray passes it as it is, for each worker to fetch when it starts.
            "bundle": [bundle],
            "precision": self._precision,
            "bits": self._bits,
            "source": source,
            "settings": settings,
        }
        expected = iter(numbers)
        try:
            for made in _run(numbers, arguments, num_workers=self._num_workers):
                if made["problem"]:
                    raise InvalidInput(made["problem"])
                if made["number"] != next(expected):
                    raise AssertionError("the parts come in order")
                yield EncodedPart(
                    content=made["content"],
                    num_rows=made["num_rows"],
                    num_errors=made["num_errors"],
                )
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()
            raise StartError(
                f"the Ray cluster failed ({reason[-1] if reason else 'no reason'});"
                " run the same command again to go on"
            ) from error


class _Worker:
    """Makes parts on a machine of the cluster; Ray Data keeps it between parts."""

    def __init__(
        self,
        *,
        bundle: Sequence[Any],
        precision: str | None,
        bits: str,
        source: Source,
        settings: AuditSettings,
    ) -> None:
        opened: Bundle = _import_ray().get(bundle[0])
        found = digest_of_bits(opened, load(opened, precision=precision))
        self._gives_other_bits = found != bits
        self._source = source
        self._settings = settings
        self._engine = Engine.open(opened, precision=precision, limits=audit_limits(1))
        self._answering = BundleAnswers(self._engine, truncate=settings.truncate)
        self._runner = asyncio.Runner()
        self._rows: Iterator[InputRow] = iter(())
        self._next_row: int | None = None

    def __call__(self, numbers: pa.Table) -> pa.Table:
        """Make parts: a table of numbers to one of what was made."""
        made = [self._make(number) for number in numbers["number"].to_pylist()]
        return pa.Table.from_pylist(made, schema=_MADE)

    def _make(self, number: int) -> dict[str, Any]:
        # Returned and not raised, as Ray would try a part again whose worker raises.
        try:
            part = self._runner.run(self._answer(number))
        except DiffMaskError as error:
            return {"number": number, "problem": str(error)}
        return {
            "number": number,
            "content": part.content,
            "num_rows": part.num_rows,
            "num_errors": part.num_errors,
            "problem": "",
        }

    async def _answer(self, number: int) -> EncodedPart:
        if self._gives_other_bits:
            raise InvalidInput(
                "a machine of the Ray cluster gives other bits than this one, as kinds"
                " of processors and releases of ONNX Runtime do; start the audit on a"
                " machine like the workers', and let those be alike"
            )
        rows = self._take(number * self._settings.rows_per_part)
        audited = await answer(rows, self._answering, self._settings)
        return encode(audited, self._answering.model, self._settings)

    def _take(self, start: int) -> list[InputRow]:
        # Parts come to a worker in order, but for one that another worker died over.
        if self._next_row is None:
            self._source.check_content()
        if self._next_row is None or start < self._next_row:
            self._rows, self._next_row = self._source.rows(), 0
        end = start + self._settings.rows_per_part
        taken = list(
            itertools.islice(self._rows, start - self._next_row, end - self._next_row)
        )
        self._next_row = end
        return taken


def digest_of_bits(bundle: Bundle, loaded: Loaded) -> str:
    """Return the sha256 of what a graph gives for the bundle's own texts, hex.

    Args:
        bundle: The bundle.
        loaded: One of its graphs.
    """
    whole = hashlib.sha256()
    for case in bundle.selftest.cases:
        text = TextInput(text=case.text, text_pair=case.text_pair)
        tokenized = loaded.tokenizer.tokenize(text, truncate=True, where="selftest")
        row = Row(
            input_ids=tokenized.input_ids, token_type_ids=tokenized.token_type_ids
        )
        outputs = loaded.session.run([row], fetches=FETCHES)
        for values in (outputs.logits, outputs.input_gates, outputs.hidden_gates):
            if values is not None:
                whole.update(values.tobytes())
    return whole.hexdigest()


@contextmanager
def joined_cluster(address: str | None, *, num_workers: int | None) -> Iterator[int]:
    """Join a Ray cluster, or start one on this machine; yield how many workers it has.

    Args:
        address: The cluster's; None starts one that ends with the audit. In a process
            that has joined one already, that one is taken.
        num_workers: Workers, >= 1; None for one a core of the cluster.

    Raises:
        StartError: Ray is not installed, there is no such cluster, or it has fewer
            cores.
    """
    # Ray's servers and its Data part tell of their own doings otherwise.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = _import_ray()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    is_ours = not ray.is_initialized()
    if is_ours:
        _join(ray, address, num_workers)
    try:
        num_cores = int(ray.cluster_resources().get("CPU", 0))
        wanted = num_workers or max(1, num_cores)
        if wanted > num_cores:
            raise StartError(
                f"--workers: the Ray cluster has {num_cores} cores, fewer than {wanted}"
            )
        yield wanted
    finally:
        if is_ours:
            ray.shutdown()


def _import_ray() -> Any:
    try:
        import_module("ray.data")
        return import_module("ray")
    except ImportError as error:
        raise StartError(
            "--engine ray: Ray is not installed; install diffmask-service[ray]"
        ) from error


def _join(ray: Any, address: str | None, num_workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
        else:
            cores = num_workers or len(os.sched_getaffinity(0))
            ray.init("local", num_cpus=cores, include_dashboard=False, **quiet)
    # Ray raises `Exception` itself where a cluster takes too long to start.
    except Exception as error:
        # What it started in vain would outlive the process.
        ray.shutdown()
        raise StartError(
            f"--ray-address: no Ray cluster answers at {address or 'this machine'}"
            f" ({error})"
        ) from error


def _run(
    numbers: Sequence[int], arguments: Mapping[str, Any], *, num_workers: int
) -> Iterator[Mapping[str, Any]]:
    data = _import_ray().data
    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    # A block a part, or one worker would get several in a row.
    parts = data.from_items(
        [{"number": number} for number in numbers], override_num_blocks=len(numbers)
    )
    made = parts.map_batches(
        _Worker,
        fn_constructor_kwargs=dict(arguments),
        batch_format="pyarrow",
        batch_size=1,
        compute=data.ActorPoolStrategy(size=num_workers),
        num_cpus=1,
    )
    for table in made.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from table.to_pylist()
