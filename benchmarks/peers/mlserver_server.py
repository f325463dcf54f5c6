"""MLServer with the graph: `mlserver_server.py DIRECTORY WORKERS GRPC HTTP METRICS`.

The last three are ports. Its own settings are the defaults, but for the access log,
which is off, and the workers: with one it runs the graph without processes beside it,
which is quicker then.
"""

import asyncio
import sys

from mlserver import MLServer, ModelSettings, Settings
from mlserver.settings import ModelParameters
from mlserver_runtime import PredictorRuntime


async def main() -> None:
    """Serve until killed."""
    directory, *numbers = sys.argv[1:]
    workers, grpc_port, http_port, metrics_port = map(int, numbers)
    server = MLServer(
        Settings(
            debug=False,
            host="127.0.0.1",
            parallel_workers=workers if workers > 1 else 0,
            grpc_port=grpc_port,
            http_port=http_port,
            metrics_port=metrics_port,
        )
    )
    model = ModelSettings(
        name="peer",
        implementation=PredictorRuntime,
        parameters=ModelParameters(uri=directory),
    )
    await server.start([model])


if __name__ == "__main__":
    asyncio.run(main())
