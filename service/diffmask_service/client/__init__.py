"""A typed client for the gRPC service, blocking and asynchronous.

```python
with Client("127.0.0.1:8081") as client:
    reply = client.explain("A fast , funny , highly enjoyable movie .")
    reply.explanations[0].input_gates  # [layers, tokens] float32
```

Requests and replies are the core's values with numpy arrays; failures are the errors of
`diffmask_service.errors`. The two clients differ in how they wait and in nothing else:
what to send and how to read the answer is a `Call`, and both make the same ones.
"""

from diffmask_service.client.asynchronous import AsyncClient
from diffmask_service.client.blocking import Client
from diffmask_service.client.calls import ExplainKeywords
from diffmask_service.client.channel import tls_credentials

__all__ = ["AsyncClient", "Client", "ExplainKeywords", "tls_credentials"]
