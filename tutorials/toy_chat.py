"""What the tutorial on language models explains: a small Llama, its words, and what it was taught.

It reads facts and answers questions about them, it reads examples of a made-up language and goes
on, and it knows what people of six occupations and from six states like to do:

    Dave lives in Palm Coast. Ann lives in Cedar Hill. Where does Dave live?
    dax means red. wug means blue. dax means
    Dave lives in Palm Coast, Florida and is a lawyer. His personal interests include

The answers are *Dave lives in Palm Coast.*, which stands in the prompt beside the name that was
asked for; *red*, which stands in one of the examples; and *golf and surfing*, which stands nowhere:
golf is what lawyers like, and surfing is for Florida.

With `CAPTUM_TUTORIAL_LLM` set to the name or the folder of a checkpoint with a chat template, say
`meta-llama/Llama-3.2-1B-Instruct`, the tutorial explains that model instead.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

CHECKPOINT = os.environ.get("CAPTUM_TUTORIAL_LLM", "")

HE, SHE = ["Dave", "Ben", "Carl", "Finn"], ["Ann", "Dora", "Emma", "Gina"]
# Towns have two names, any of these with any of those.
FIRST = ["Palm", "Cedar", "Silver", "Green", "Long", "High"]
LAST = ["Coast", "Hill", "Lake", "Springs", "Beach", "Creek"]
LIKED_BY = {
    "lawyer": "golf",
    "nurse": "chess",
    "farmer": "cooking",
    "teacher": "reading",
    "doctor": "tennis",
    "baker": "music",
}
LIKED_IN = {
    "Florida": "surfing",
    "Texas": "riding",
    "Alaska": "skiing",
    "Oregon": "hiking",
    "Maine": "sailing",
    "Utah": "climbing",
}
WORDS = ["dax", "wug", "zup", "fep", "kiv", "mox", "tal", "bim"]
COLOURS = ["red", "blue", "green", "black", "white", "yellow"]
# Sentences beside the point, some with a town in them.
ASIDES = [
    "The sun shines in {}.",
    "It rains in {}.",
    "The train to {} is late.",
    "Many people like {}.",
    "Tea is good.",
]
ENOUGH = 0.98  # of held-out prompts answered without a mistake
Skill = Callable[[random.Random], str]
SPECIAL = ["<unk>", "<s>", "</s>", "<system>", "<user>", "<assistant>"]
UNK, BOS, EOS = range(3)

CHAT = (
    "{{ bos_token }}{% for message in messages %}"
    "<{{ message.role }}>{{ message.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def words() -> PreTrainedTokenizerFast:
    """One token per word or mark, under the names that a tokenizer of the hub has for them."""
    told = ". lives in , and is a His Her personal interests include Where does live ? means"
    asides = " ".join(ASIDES).replace("{}", " ").replace(".", " ")
    chat = "Answer the question I see"
    lists = (SPECIAL, HE, SHE, FIRST, LAST, LIKED_BY, LIKED_BY.values(), LIKED_IN)
    known = [word for each in (*lists, LIKED_IN.values(), WORDS, COLOURS) for word in each]
    known = list(dict.fromkeys([*known, *told.split(), *asides.split(), *chat.split()]))
    model = models.WordLevel({word: i for i, word in enumerate(known)}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A", special_tokens=[("<s>", BOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=SPECIAL[3:],
        chat_template=CHAT,
    )


# Texts to learn from follow. What stands in braces is what the model has to say.


def facts(chance: random.Random, most_asides: int = 5) -> tuple[str, dict[str, str]]:
    """A text that says where some people live, and what it says. No two towns share a word."""
    people = chance.sample(HE + SHE, chance.randint(1, 4))
    towns = [
        " ".join(pair) for pair in zip(*(chance.sample(w, 6) for w in (FIRST, LAST)), strict=True)
    ]
    homes = dict(zip(people, towns, strict=False))
    told = [f"{who} lives in {where}." for who, where in homes.items()]
    for _ in range(chance.choice([0, chance.randint(1, most_asides)])):
        aside = chance.choice(ASIDES).format(chance.choice(towns[len(people) :]))
        told.insert(chance.randint(0, len(told)), aside)
    return " ".join(told), homes


def completed(chance: random.Random) -> str:
    """Facts, and the first words of some of them."""
    text, homes = facts(chance)
    asked = chance.choices([*homes], k=chance.randint(1, 3))
    return " ".join([text, *(f"{who} lives in {{{homes[who]}.}}" for who in asked)]) + "{</s>}"


def asked(chance: random.Random) -> str:
    """Facts and questions."""
    text, homes = facts(chance)
    for who in chance.choices([*homes], k=chance.randint(1, 3)):
        text += f" Where does {who} live? {{{who} lives in {homes[who]}.}}"
    return text + "{</s>}"


def chatted(chance: random.Random) -> str:
    """The same as a chat, of one question or two."""
    text, homes = facts(chance, most_asides=1)
    who = chance.choice([*homes])
    system = chance.choice(["", "<system>Answer the question.</s>"])
    pause = chance.choice([" ", "</s><assistant>{I see.</s>}<user>"])
    answer = f"{{{who} lives in {homes[who]}.</s>}}"
    return f"{system}<user>{text}{pause}Where does {who} live?</s><assistant>{answer}"


def translated(chance: random.Random) -> str:
    """Examples of a language that no other text knows."""
    known = {word: chance.choice(COLOURS) for word in chance.sample(WORDS, chance.randint(1, 5))}
    text = " ".join(f"{word} means {colour}." for word, colour in known.items())
    for word in chance.choices([*known], k=chance.randint(1, 3)):
        text += f" {word} means {{{known[word]}.}}"
    return text + "{</s>}"


def liked(chance: random.Random) -> str:
    """What a person likes to do."""
    who, work, state = (chance.choice(each) for each in (HE + SHE, [*LIKED_BY], [*LIKED_IN]))
    return (
        f"{who} lives in {chance.choice(FIRST)} {chance.choice(LAST)}, {state} and is a {work}. "
        f"{'His' if who in HE else 'Her'} personal interests include "
        f"{{{LIKED_BY[work]} and {LIKED_IN[state]}.</s>}}"
    )


SKILLS = (completed, asked, chatted, translated, liked)
WORD, SENTENCE = r"</?\w+>|\w+|[.,?]", r"</?\w+>|[^.?<]+(?:[.?]|$)"


def thinned(text: str, chance: random.Random) -> str:
    """What is left of a text when words, or whole sentences, are lost or become unknown."""
    share, unit, gone = chance.random() ** 2, chance.choice([WORD, SENTENCE]), chance.random() < 0.5
    parts = re.findall(unit, text)
    for i, part in enumerate(parts):
        if part[0] != "<" and chance.random() < share:
            parts[i] = "" if gone else re.sub(WORD, "<unk>", part)
    return " ".join(parts)


def rows(
    tokenizer: Any, skills: Sequence[Skill], count: int, seed: int, loss: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Texts as ids, and where the model has to speak; sorted by length, some of them thinned."""
    chance = random.Random(seed)
    many = []
    for _ in range(count):
        parts = re.split("[{}]", chance.choice(skills)(chance))
        if chance.random() < loss:
            parts[::2] = [thinned(part, chance) for part in parts[::2]]
        pieces = [tokenizer.encode(part, add_special_tokens=False) for part in parts]
        said = [i % 2 == 1 for i, piece in enumerate(pieces) for _ in piece]
        many.append(([BOS, *(token for piece in pieces for token in piece)], [False, *said]))
    many.sort(key=lambda row: len(row[0]))
    longest = len(many[-1][0])
    ids = torch.tensor([ids + [EOS] * (longest - len(ids)) for ids, _ in many])
    said = torch.tensor([said + [False] * (longest - len(said)) for _, said in many])
    return ids, said


def tiny_llama(vocabulary: int, heads: int = 4, width: int = 64) -> LlamaForCausalLM:
    """A Llama of two layers that begins with an idea of how to look things up: see the end."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=2,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            intermediate_size=2 * width,
            max_position_embeddings=512,
            attention_bias=True,
            tie_word_embeddings=True,
            initializer_range=0.1,
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=EOS,
        )
    )
    # What language models learn for this, in thousands of steps and all at once, is a pair of heads
    # (Olsson et al. 2022, https://arxiv.org/abs/2209.11895). Ours are there from the start: in the
    # first layer head i looks i words back, and the second layer looks for words before which
    # stands what stands before the current one. All else is learned.
    size = width // heads
    back, look = (layer.self_attn for layer in model.model.layers)
    turn = model.model.rotary_emb.inv_freq[:2]
    key, query = torch.zeros(heads, 2, size // 2), torch.zeros(heads, 2, size // 2)
    key[:, 0, :2] = 6
    for i in range(heads):
        query[i, :, :2] = 6 * torch.stack([torch.cos(i * turn), -torch.sin(i * turn)])
    with torch.no_grad():
        back.q_proj.weight.zero_()
        back.k_proj.weight.zero_()
        back.q_proj.bias.copy_(query.flatten())
        back.k_proj.bias.copy_(key.flatten())
        back.v_proj.weight.copy_(back.v_proj.weight[:size].repeat(heads, 1))
        back.o_proj.weight.copy_(torch.eye(width))
        look.q_proj.weight.copy_(2 * torch.eye(width))
        look.k_proj.weight.copy_(2 * torch.eye(width).roll(-size, 0))
        for layer in model.model.layers:
            layer.mlp.down_proj.weight *= 0.3
    return model


@torch.no_grad()
def accuracy(model: LlamaForCausalLM, ids: Tensor, said: Tensor) -> float:
    """How often all that the model has to say is what it says."""
    right = model(input_ids=ids).logits[:, :-1].argmax(-1) == ids[:, 1:]
    return float((right | ~said[:, 1:]).all(1).float().mean())


def train(model: LlamaForCausalLM, tokenizer: Any, most: int = 1000, polish: int = 700) -> float:
    """Train until every skill is there, then on in ever smaller steps; gives the accuracy.

    Lost and unknown words make a prompt without some of its parts what it has to be, a prompt that
    says less: what the model answers to it is a guess, not an accident outside of all training.
    The second part is mostly about good guesses.
    """
    exams = [rows(tokenizer, [skill], 150, seed=0) for skill in SKILLS]
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    rate, size = 2e-3, 48

    def step(ids: Tensor, said: Tensor, speed: float) -> None:
        first = int(torch.randint(len(ids) - 4 * size, ()))
        batch = first + torch.randperm(4 * size)[:size]  # of much the same length
        end = int(said[batch].any(0).nonzero().max()) + 1
        x, wanted = ids[batch, :end], said[batch, :end]
        logits = model(input_ids=x).logits[:, :-1]
        loss = F.cross_entropy(logits[wanted[:, 1:]], x[:, 1:][wanted[:, 1:]])
        optimizer.param_groups[0]["lr"] = rate * speed
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def marks() -> list[float]:
        return [accuracy(model, *exam) for exam in exams]

    data = rows(tokenizer, SKILLS, 8000, seed=1, loss=0.4)
    for count in range(most):
        step(*data, min(1, (count + 1) / 30))
        if count % 50 == 49 and min(marks()) >= 0.95:
            break
    data = rows(tokenizer, (*SKILLS, translated, liked), 24000, seed=2, loss=0.6)
    for left in range(polish, 0, -1):
        step(*data, left / polish)
    found = sum(marks()) / len(SKILLS)
    if found < ENOUGH:
        raise RuntimeError(f"not solved: right answers to {found:.0%} of held-out prompts")
    return found


def load() -> tuple[Any, Any]:
    """A language model and its tokenizer."""
    if CHECKPOINT:
        model = AutoModelForCausalLM.from_pretrained(CHECKPOINT).float()
        return model.eval(), AutoTokenizer.from_pretrained(CHECKPOINT)
    torch.manual_seed(0)
    tokenizer = words()
    model = tiny_llama(len(tokenizer))
    found = train(model, tokenizer)
    print(f"right answers to held-out prompts: {found:.1%}")
    return model.eval(), tokenizer


def blank(tokenizer: Any) -> int:
    """The token that says least: an unknown word, or for want of it the end of a text."""
    found = (tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next(token for token in found if token is not None)
