"""Several servers in turn; any of them may end and come back."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc.aio

from benchmarks.servers import Server, running
from diffmask_service.client.retries import RETRY_POLICY


class Replicas:
    """Servers of the same bundle; make one with `running_replicas`.

    Args:
        bundle: What they serve; None where the settings name a repository.
        stack: Takes down what is started.
        settings: Of each, by the names of the fields.

    Attributes:
        servers: Those that run now, by place.
    """

    def __init__(
        self,
        bundle: Path | None,
        stack: ExitStack,
        *,
        number: int,
        **settings: object,
    ) -> None:
        self._bundle = bundle
        self._stack = stack
        self._settings = settings
        self.servers = [self._start() for _ in range(number)]

    def restart(self, place: int) -> Server:
        """Start a server that has ended, on its own port."""
        self.servers[place] = self._start(grpc_port=self.servers[place].port)
        return self.servers[place]

    def channel(self, *, retries: bool) -> grpc.aio.Channel:
        """Return a channel to all of them in turn.

        Args:
            retries: Whether calls that were refused or lost are sent again.
        """
        return balanced_channel(
            [server.target for server in self.servers], retries=retries
        )

    def _start(self, **settings: object) -> Server:
        return self._stack.enter_context(
            running(self._bundle, cores="", **(self._settings | settings))
        )


@contextmanager
def running_replicas(
    bundle: Path | None, *, number: int = 2, **settings: object
) -> Iterator[Replicas]:
    """Start servers, and see that they are gone afterwards.

    Args:
        bundle: What they serve; None where the settings name a repository.
        number: How many.
        settings: Of each, by the names of the fields.
    """
    with ExitStack() as stack:
        yield Replicas(bundle, stack, number=number, **settings)


def balanced_channel(targets: Sequence[str], *, retries: bool) -> grpc.aio.Channel:
    """Return a channel to several servers in turn.

    Args:
        targets: Hosts and ports, IPv4.
        retries: Whether calls that were refused or lost are sent again.
    """
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if retries:
        config["methodConfig"] = RETRY_POLICY["methodConfig"]
    return grpc.aio.insecure_channel(
        "ipv4:" + ",".join(targets),
        options=[
            ("grpc.service_config", json.dumps(config)),
            # A server that is back is found within a second, not within two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ],
    )
