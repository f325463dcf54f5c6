"""LitServe with the graph: `python litserve_server.py DIRECTORY PORT WORKERS`."""

import sys
from pathlib import Path
from typing import Any

import litserve
from predictor import Predictor


class PredictorApi(litserve.LitAPI):
    """Answers `{"text": ...}` with `{"logits": [...]}`."""

    def setup(self, device: str) -> None:
        """Load the graph, once in each worker."""
        del device
        self.predictor = Predictor(Path(sys.argv[1]))

    def decode_request(self, request: dict[str, Any]) -> str:
        """Return the text."""
        return str(request["text"])

    def predict(self, text: str) -> list[float]:
        """Return the logits."""
        return self.predictor.predict(text)

    def encode_response(self, logits: list[float]) -> dict[str, Any]:
        """Return the answer."""
        return {"logits": logits}


if __name__ == "__main__":
    server = litserve.LitServer(
        PredictorApi(), accelerator="cpu", workers_per_device=int(sys.argv[3])
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        generate_client_file=False,
        log_level="warning",
    )
