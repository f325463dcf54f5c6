"""When a call is tried again, in the form that gRPC clients of every language read."""

import json

RETRY_POLICY = {
    "methodConfig": [
        {
            "name": [
                {"service": "diffmask.v1.Explainer"},
                {"service": "inference.GRPCInferenceService"},
            ],
            # A server that is full or stopping says when to come back, and that goes
            # before these waits. Answers depend on the request alone, so nothing is
            # done twice that matters.
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ],
    # With most calls failing, retries would only add to the load.
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
}


def service_config() -> str:
    """Return the policy as the JSON that a channel takes."""
    return json.dumps(RETRY_POLICY)
