"""What the two question-answering tutorials share: a toy task, its words, a BERT that solves it.

A story says who has what, and the question asks for one of the three owners:

    who has the lamp ?    emma gray has the ball . ben dean has the lamp . gina hill has the cup .

The answer, *ben dean*, is a span of the story: the model points at its first and its last word. To
find them it must match *lamp* in the question with *lamp* in the story and go back to the name.

With `CAPTUM_TUTORIAL_BERT` set to the name or the folder of a checkpoint that was fine-tuned on
SQuAD, say `csarron/bert-base-uncased-squad-v1`, the tutorials explain that model instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering

CHECKPOINT = os.environ.get("CAPTUM_TUTORIAL_BERT", "")

FIRST = ["anna", "ben", "carl", "dora", "emma", "finn", "gina", "hugo"]
LAST = ["ash", "bell", "cole", "dean", "east", "ford", "gray", "hill"]
THINGS = ["ball", "book", "cup", "drum", "flag", "hat", "key", "lamp"]
SPECIAL = ["[PAD]", "[CLS]", "[SEP]"]


class Words:
    """One token per word, under the names that a transformers tokenizer has for it."""

    vocabulary = (*SPECIAL, *FIRST, *LAST, *THINGS, *["who", "has", "the", ".", "?"])
    pad_token_id, cls_token_id, sep_token_id = range(3)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [self.vocabulary.index(word) for word in text.split()]

    def convert_ids_to_tokens(self, ids: Tensor) -> list[str]:
        return [self.vocabulary[i] for i in ids]


@dataclass(frozen=True)
class Story:
    question: str
    text: str
    answer: str


@dataclass(frozen=True)
class Encoded:
    """A question and a text as BERT reads them, and the reference: the same length, no words."""

    ids: Tensor
    ref_ids: Tensor
    types: Tensor
    ref_types: Tensor
    positions: Tensor
    ref_positions: Tensor
    mask: Tensor
    tokens: list[str]


def encode(tokenizer: Any, question: str, text: str) -> Encoded:
    """[CLS] question [SEP] text [SEP], and [CLS] [PAD]... [SEP] [PAD]... [SEP] beside it."""
    cls, sep, pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    asked, told = (tokenizer.encode(part, add_special_tokens=False) for part in (question, text))
    ids = torch.tensor([[cls, *asked, sep, *told, sep]])
    blank = torch.tensor([[cls, *[pad] * len(asked), sep, *[pad] * len(told), sep]])
    types = torch.tensor([[0] * (len(asked) + 2) + [1] * (len(told) + 1)])
    return Encoded(
        ids=ids,
        ref_ids=blank,
        types=types,
        ref_types=torch.zeros_like(types),
        positions=torch.arange(ids.shape[1])[None],
        ref_positions=torch.zeros_like(ids),
        mask=torch.ones_like(ids),
        tokens=tokenizer.convert_ids_to_tokens(ids[0]),
    )


def stories(count: int, seed: int) -> Iterator[Story]:
    """`count` random stories, each with its three questions in a row."""
    generator = torch.Generator().manual_seed(seed)

    def three(words: list[str]) -> list[str]:
        return [words[i] for i in torch.randperm(len(words), generator=generator)[:3]]

    for _ in range(count):
        owners = [f"{first} {last}" for first, last in zip(three(FIRST), three(LAST), strict=True)]
        things = three(THINGS)
        text = " ".join(f"{who} has the {what} ." for who, what in zip(owners, things, strict=True))
        for who, what in zip(owners, things, strict=True):
            yield Story(f"who has the {what} ?", text, who)


def rows(tokenizer: Words, given: Iterator[Story]) -> dict[str, Tensor]:
    """Stories as a training set: all have the same length, so nothing is padded."""
    many = list(given)
    encoded = [encode(tokenizer, story.question, story.text) for story in many]
    starts = [each.tokens.index(s.answer.split()[0]) for each, s in zip(encoded, many, strict=True)]
    return {
        "input_ids": torch.cat([each.ids for each in encoded]),
        "token_type_ids": torch.cat([each.types for each in encoded]),
        "start_positions": torch.tensor(starts),
        "end_positions": torch.tensor(starts) + 1,
    }


def tiny_bert(layers: int = 4, width: int = 48, heads: int = 4) -> BertForQuestionAnswering:
    """A BERT in all but size, made for comparing: see the end."""
    config = BertConfig(
        vocab_size=len(Words.vocabulary),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.15,
        attn_implementation="eager",
    )
    model = BertForQuestionAnswering(config)
    # In the first layer the keys are the queries, and words say more than places do at first:
    # so equal words attend to each other, and whoever trains it finds the same solution.
    attention, embeddings = model.bert.encoder.layer[0].attention.self, model.bert.embeddings
    attention.key = attention.query
    with torch.no_grad():
        embeddings.position_embeddings.weight *= 0.5
        embeddings.token_type_embeddings.weight *= 0.5
    return model


def batches(data: dict[str, Tensor], seed: int) -> Iterator[dict[str, Tensor]]:
    """Whole stories: three questions that differ in one word, and so in the answer, show at once
    what that word is good for."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        first = 3 * torch.randint(len(data["input_ids"]) // 3, (16, 1), generator=generator)
        batch = (first + torch.arange(3)).flatten()
        yield {name: values[batch] for name, values in data.items()}


def blanked(ids: Tensor) -> Tensor:
    """Half of the rows with some of their words gone, from none to all."""
    gone = torch.rand(ids.shape) < torch.rand(len(ids), 1)
    gone &= (ids > Words.sep_token_id) & (torch.arange(len(ids))[:, None] % 2 == 0)
    return ids.masked_fill(gone, Words.pad_token_id)


def losses(model: BertForQuestionAnswering, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Of the questions "which word is it?" and, word by word, "is it this one?".

    The first leaves open how high all logits lie together. The second settles it: a logit is the
    log-odds of its word, in every text, and so the difference of two texts' has a meaning.
    """
    output = model(**batch)
    logits = torch.stack([output.start_logits, output.end_logits])
    places = torch.stack([batch["start_positions"], batch["end_positions"]])
    hot = F.one_hot(places, logits.shape[2]).to(logits.dtype)
    return output.loss, F.binary_cross_entropy_with_logits(logits, hot)


def train(model: BertForQuestionAnswering, data: dict[str, Tensor], most: int = 900) -> None:
    """Train until the task is solved, then with blanks, in ever smaller steps.

    The blanks make `[PAD]` what a reference has to be, a word that says nothing: what the model
    answers to it is a guess between the three owners, not an accident outside of all training.
    """
    optimizer = torch.optim.AdamW(model.parameters())
    stream, rate, blanks, smooth = batches(data, seed=0), 1.5e-3, 250, 1.0

    def step(batch: dict[str, Tensor], size: float) -> float:
        optimizer.param_groups[0]["lr"] = size * rate
        which, each = losses(model, batch)
        optimizer.zero_grad()
        (which + 10 * each).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(which.detach())

    for count in range(most):
        smooth = 0.9 * smooth + 0.1 * step(next(stream), min(1, (count + 1) / 20))
        if smooth < 0.01:
            break
    else:
        raise RuntimeError(f"not solved after {most} steps: the loss is {smooth:.2f}")
    for left in range(blanks, 0, -1):
        batch = next(stream)
        step(batch | {"input_ids": blanked(batch["input_ids"])}, left / blanks)


def load() -> tuple[BertForQuestionAnswering, Any, Story]:
    """A model that answers questions, its tokenizer, and a question for it."""
    if CHECKPOINT:
        model = BertForQuestionAnswering.from_pretrained(CHECKPOINT, attn_implementation="eager")
        story = Story(
            "who wrote the first program ?",
            "ada lovelace wrote the first program, for a machine that was never built .",
            "ada lovelace",
        )
        return model.eval(), AutoTokenizer.from_pretrained(CHECKPOINT), story
    torch.manual_seed(1)
    model, tokenizer = tiny_bert(), Words()
    train(model, rows(tokenizer, stories(1500, seed=0)))
    return model.eval(), tokenizer, list(stories(1, seed=2))[1]
