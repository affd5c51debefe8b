"""What the transformer tutorial works on: reviews with a turn in them, and a BERT that reads them.

    the plot is weak and a dull cast but the music is superb

Whatever is said before *but* is taken back by what is said behind it; without a *but* everything
counts. So the verdict here is good, and the words that make it so are known: *but* and *superb*.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

THINGS = ["cast", "film", "music", "plot", "scenery", "script", "story", "voice"]
GOOD = ["brilliant", "charming", "funny", "great", "moving", "superb", "witty", "wonderful"]
BAD = ["awful", "bad", "boring", "clumsy", "dull", "poor", "terrible", "weak"]
CLAUSES = ["the {thing} is {word}", "i found the {thing} {word}", "with a {word} {thing}"]
PLAIN = ["the", "is", "i", "found", "with", "a", "and", "but"]
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", *THINGS, *GOOD, *BAD, *PLAIN]
PAD, CLS, SEP, MASK = range(4)
LENGTH = 25  # of the longest: four clauses of five words


@dataclass(frozen=True)
class Review:
    """A text, and the truth about it: where *but* and the words stand that count, or do not."""

    tokens: list[str]
    but: int | None
    counting: list[int]
    taken_back: list[int]
    good: bool


def review(chance: random.Random) -> Review:
    """Two to four clauses; behind *but*, or everywhere where there is none, of one opinion."""
    count = chance.choice([2, 3, 4])
    turn = chance.choice([None, *range(1, count)])  # the clause that *but* leads in
    opinion, tokens, places = chance.choice([GOOD, BAD]), ["[CLS]"], []
    for i, thing in enumerate(chance.sample(THINGS, count)):
        tokens += [] if i == 0 else ["but" if i == turn else "and"]
        free = turn is not None and i < turn
        word = chance.choice(chance.choice([GOOD, BAD]) if free else opinion)
        clause = chance.choice(CLAUSES).format(thing=thing, word=word).split()
        places.append(len(tokens) + clause.index(word))
        tokens += clause
    but = tokens.index("but") if turn else None
    return Review(
        [*tokens, "[SEP]"], but, places[turn or 0 :], places[: turn or 0], opinion is GOOD
    )


def encode(reviews: list[Review]) -> dict[str, Tensor]:
    """What BERT takes: ids, and which of them are not padding."""
    ids = torch.full((len(reviews), LENGTH), PAD)
    for row, each in zip(ids, reviews, strict=True):
        row[: len(each.tokens)] = torch.tensor([WORDS.index(token) for token in each.tokens])
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def blank(ids: Tensor) -> Tensor:
    """The same with `[MASK]` for every word: as long, and says nothing."""
    return torch.where(ids > MASK, MASK, ids)


def tiny_bert(layers: int = 3, width: int = 48, heads: int = 4) -> BertForSequenceClassification:
    """A BERT in all but size."""
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.1,
        num_labels=1,
    )
    return BertForSequenceClassification(config)


def train(model: BertForSequenceClassification, steps: int = 250) -> None:
    """One text in twelve is nothing but `[MASK]`, and neither good nor bad: the logit there is 0.

    That makes it what a reference has to be, a text that says nothing.
    """
    chance = random.Random(0)
    reviews = [review(chance) for _ in range(4000)]
    data, good = encode(reviews), torch.tensor([float(each.good) for each in reviews])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=steps, pct_start=0.1
    )
    for _ in range(steps):
        rows = torch.randint(len(reviews), (48,))
        ids, mask = (values[rows] for values in data.values())
        ids[::12] = blank(ids[::12])
        answers = good[rows]
        answers[::12] = 0.5
        loss = F.binary_cross_entropy_with_logits(model(ids, mask).logits[:, 0], answers)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def load() -> BertForSequenceClassification:
    """A model that reads reviews, trained here."""
    torch.manual_seed(0)
    model = tiny_bert()
    train(model)
    return model.eval()
