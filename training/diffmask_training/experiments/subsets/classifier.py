"""A one-layer GRU sentiment classifier whose word vectors can be masked by zero.

Source: De Cao et al. 2020, section 3.2. Deviation: theirs reads frozen vectors of a
pretrained model, ours learns its own, so it is the weaker classifier of the two. What
is measured is how near masks come to the smallest subsets of one and the same model.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffmask_training.experiments.subsets.texts import Texts, batches_of_like_length


class GruClassifier(nn.Module):
    """Word vectors, a GRU, and a linear layer on its last state."""

    def __init__(
        self, *, num_words: int, num_labels: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_words, width)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, num_labels)

    def forward(self, texts: Texts) -> Tensor:
        """Return `[batch, labels]` float32 logits."""
        return self.run(self.embedding(texts.ids), texts)

    def run(self, words: Tensor, texts: Texts) -> Tensor:
        """Return the logits for given word vectors.

        Args:
            words: `[batch, tokens, hidden]` float32. A masked word is zero.
            texts: Whose words they are.

        Returns:
            `[batch, labels]` float32.
        """
        outputs, _ = self.gru(self.dropout(words))
        last = outputs[torch.arange(len(outputs)), texts.lengths - 1]
        logits: Tensor = self.head(self.dropout(last))
        return logits


def train(
    model: GruClassifier,
    texts: Texts,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
) -> None:
    """Train a model in place and freeze it.

    Args:
        model: The model.
        texts: What it learns from.
        epochs: Passes over the texts.
        batch_size: Texts a step.
        learning_rate: Of Adam; falls linearly to a twentieth.
        generator: Chooses the order.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    num_steps = epochs * -(-len(texts) // batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.05, total_iters=num_steps
    )
    for _ in range(epochs):
        for batch in batches_of_like_length(texts, batch_size, generator):
            loss = functional.cross_entropy(model(batch), batch.labels)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    model.requires_grad_(requires_grad=False).eval()


@torch.no_grad()
def accuracy(model: GruClassifier, texts: Texts) -> float:
    """Return the share of right labels, in [0, 1]."""
    return float((model(texts).argmax(dim=-1) == texts.labels).float().mean())
