"""What MLServer loads in each of its workers to run the graph."""

from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from predictor import Predictor


class PredictorRuntime(MLModel):
    """Answers a tensor `text` of one text with a tensor `logits`."""

    async def load(self) -> bool:
        """Load the graph, once in each worker."""
        self.predictor = Predictor(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the logits."""
        (text,) = StringCodec.decode_input(payload.inputs[0])
        logits = np.array([self.predictor.predict(text)], dtype=np.float32)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("logits", logits)]
        )
