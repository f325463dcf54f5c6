"""A text whose answer is known to the bit, asked for again and again."""

import grpc
import grpc.aio

from benchmarks.traffic.targets import EXPLAIN
from diffmask_service.wire.pb import explain_pb2 as pb

_TEXTS = ("a funny movie", "good , not bad")


class Canary:
    """Asks one question and compares its answer with the first one, bit by bit.

    Args:
        channel: Where the server is.
        timeout_seconds: A server that takes longer hangs.

    Attributes:
        num_checks: Answers compared.
    """

    def __init__(self, channel: grpc.aio.Channel, *, timeout_seconds: float) -> None:
        self._method: grpc.aio.UnaryUnaryMultiCallable[bytes, pb.ExplainResponse] = (
            channel.unary_unary(
                EXPLAIN.path, response_deserializer=pb.ExplainResponse.FromString
            )
        )
        self._request = EXPLAIN.write(_TEXTS, "verify")
        self._timeout_seconds = timeout_seconds
        self._expected: pb.ExplainResponse | None = None
        self.num_checks = 0

    async def check(self) -> str:
        """Return what is wrong with the answer; empty if nothing is."""
        try:
            reply = await self._method(self._request, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            return f"the canary ended in {error.code().name}: {error.details()}"
        # What may differ from call to call.
        reply.ClearField("timings")
        reply.ClearField("request_id")
        if self._expected is None:
            self._expected = reply
        self.num_checks += 1
        return "" if reply == self._expected else "the canary's answer has changed"
