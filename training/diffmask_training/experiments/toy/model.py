"""The model that counts: a position-wise network of two outputs, and a GRU over them.

The bottleneck of two lets its states be drawn, and since no position sees another
before the GRU, all counting happens above it: what the answer rests on is known.

Source: De Cao et al. 2020, section 3.1; sizes and the entropy term of the loss from the
authors' code. That term is the entropy of a softmax over the *batch*, most likely a
slip, but without it the logits, and all attributions with them, have another scale.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffmask_training.experiments.toy.task import NUM_DIGITS, Items

STATES = ("word_embeddings", "feed_forward")


class CountingModel(nn.Module):
    """Two states are probed: the digits' embeddings, and the position-wise output.

    Attributes:
        width: Of embeddings and of the GRU's state.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.query_embedding = nn.Embedding(NUM_DIGITS, width)
        self.word_embedding = nn.Embedding(NUM_DIGITS, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(3 * width, width), nn.Tanh(), nn.Linear(width, 2)
        )
        self.gru = nn.GRU(2, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, items: Items) -> Tensor:
        """Return `[batch]` float32, the logit of label 1."""
        return self.run_from(items, 1, self.hidden_states(items)[1])

    def hidden_states(self, items: Items) -> tuple[Tensor, Tensor]:
        """Return both states, each `[batch, tokens, hidden]` float32."""
        words = self.word_embedding(items.digits)
        return words, self._position_wise(items, words)

    def run_from(self, items: Items, state_index: int, state: Tensor) -> Tensor:
        """Return the logits when one state is replaced.

        Args:
            items: The questions.
            state_index: Which state, 0 or 1.
            state: `[batch, tokens, hidden]` float32. What stands in for it.

        Returns:
            `[batch]` float32. Logit of label 1.
        """
        if state_index == 0:
            state = self._position_wise(items, state)
        outputs, _ = self.gru(state)
        # Padding comes last and a GRU looks back only, so it is never read.
        last = items.attention_mask.sum(dim=-1) - 1
        logits: Tensor = self.head(outputs[torch.arange(len(items)), last]).squeeze(-1)
        return logits

    def _position_wise(self, items: Items, words: Tensor) -> Tensor:
        query = self.query_embedding(items.queries).flatten(start_dim=1)
        query = query.unsqueeze(1).expand(-1, words.shape[1], -1)
        states: Tensor = self.feed_forward(torch.cat([query, words], dim=-1))
        return states


def as_two_logits(logits: Tensor) -> Tensor:
    """Return the logits of both labels, `[batch, 2]`, from those of label 1."""
    return torch.stack([torch.zeros_like(logits), logits], dim=-1)


def train(
    model: CountingModel,
    items: Items,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    entropy_weight: float,
    generator: torch.Generator,
) -> None:
    """Train a model in place and freeze it.

    Args:
        model: The model.
        items: What it learns from.
        epochs: Passes over the items.
        batch_size: Items a step.
        learning_rate: Of Adam.
        entropy_weight: Of the entropy over the batch; keeps logits moderate.
        generator: Chooses the order.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(epochs):
        order = torch.randperm(len(items), generator=generator)
        for rows in torch.split(order, batch_size):
            batch = items[rows]
            logits = model(batch)
            loss = functional.binary_cross_entropy_with_logits(
                logits, batch.labels.float()
            )
            shares = torch.softmax(logits, dim=0)
            entropy = -(shares * torch.log_softmax(logits, dim=0)).sum()
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss - entropy_weight * entropy)
            optimizer.step()
    model.requires_grad_(requires_grad=False).eval()


@torch.no_grad()
def accuracy(model: CountingModel, items: Items) -> float:
    """Return the share of right answers, in [0, 1]."""
    return float(((model(items) > 0) == items.labels.bool()).float().mean())
