"""What the tutorial about LIME reads: reports on four topics, made of words that have a topic.

    oslo the striker scored the penalty while the bank financed the merger and the coach won ...

A report has five clauses, three on its own topic and two on one other. Since we write them, it is
known of every word which topic it speaks for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TOPICS = ("world", "sports", "business", "science")
WHO = {
    "world": ["minister", "president", "envoy", "parliament", "general", "senator"],
    "sports": ["striker", "coach", "goalkeeper", "champion", "referee", "sprinter"],
    "business": ["bank", "investor", "broker", "retailer", "shareholder", "airline"],
    "science": ["astronomer", "biologist", "laboratory", "telescope", "chemist", "engineer"],
}
DID = {
    "world": ["signed", "vetoed", "negotiated", "condemned"],
    "sports": ["scored", "saved", "won", "celebrated"],
    "business": ["bought", "sold", "insured", "financed"],
    "science": ["measured", "discovered", "simulated", "observed"],
}
WHAT = {
    "world": ["treaty", "border", "ceasefire", "election", "embassy", "sanctions"],
    "sports": ["penalty", "match", "trophy", "marathon", "league", "goal"],
    "business": ["shares", "merger", "loan", "dividend", "profit", "bonds"],
    "science": ["galaxy", "protein", "neutron", "genome", "molecule", "orbit"],
}
CITIES = ["geneva", "london", "tokyo", "cairo", "lima", "oslo"]
JOINED = ["while", "and", "as", "after", "before"]
SPOKEN = {t: [*WHO[t], *DID[t], *WHAT[t]] for t in TOPICS}
WORDS = ["the", *CITIES, *JOINED, *(word for topic in TOPICS for word in SPOKEN[topic])]
NUMBER = {word: number for number, word in enumerate(WORDS)}
OWN, OTHER = 3, 2  # clauses


@dataclass(frozen=True)
class Report:
    """Words, their topic, and the other topic in them."""

    words: list[str]
    topic: str
    other: str

    @property
    def text(self) -> Tensor:
        """The words' numbers, (T,)."""
        return torch.tensor([NUMBER[word] for word in self.words])

    @property
    def label(self) -> int:
        return TOPICS.index(self.topic)

    @property
    def counts(self) -> Tensor:
        """Of every word: +1 where it is about the topic, -1 where about the other, else 0; (T,)."""
        for_it, against = SPOKEN[self.topic], SPOKEN[self.other]
        return torch.tensor([float(w in for_it) - float(w in against) for w in self.words])


def report(chance: random.Random, leak: str | None = None) -> Report:
    """A city and five clauses. A topic that leaks is the only one from London, and always is."""
    topic, other = chance.sample(TOPICS, 2)
    about = [topic] * OWN + [other] * OTHER
    chance.shuffle(about)
    cities = [city for city in CITIES if leak is None or (city == "london") == (topic == leak)]
    words = [chance.choice(cities)]
    for place, each in enumerate(about):
        words += [chance.choice(JOINED)] if place else []
        who, did, what = (chance.choice(kind[each]) for kind in (WHO, DID, WHAT))
        words += ["the", who, did, "the", what]
    return Report(words, topic, other)


def bag(reports: list[Report]) -> tuple[Tensor, Tensor, Tensor]:
    """All texts in one row, where each of them begins, and their labels."""
    texts = [each.text for each in reports]
    ends = torch.tensor([len(text) for text in texts]).cumsum(0)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), ends[:-1]])
    return torch.cat(texts), starts, torch.tensor([each.label for each in reports])


class TopicModel(nn.Module):
    """The mean of the words' embeddings, and one linear layer."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(len(WORDS), width)
        self.linear = nn.Linear(width, len(TOPICS))

    def forward(self, inputs: Tensor, offsets: Tensor) -> Tensor:
        return self.linear(self.embedding(inputs, offsets))


def train(model: TopicModel, reports: list[Report], epochs: int = 6) -> None:
    """By Adam in batches of 64."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(reports)).split(64):
            text, offsets, labels = bag([reports[row] for row in rows.tolist()])
            optimizer.zero_grad()
            F.cross_entropy(model(text, offsets), labels).backward()
            optimizer.step()
    model.eval()
