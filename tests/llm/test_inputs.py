"""Prompts and their features: what a coalition leaves, and nothing else moves."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum.attr import ChatInput, ProductBaselines, TextTemplateInput, TextTokenInput
from captum.attr.llm import segments, tokens

from .tokenizers import TEXTS, Letters, bytes_bpe, metaspace_bpe, words

TOKENIZERS = [words, bytes_bpe, metaspace_bpe]
MESSAGES = [
    {"role": "system", "content": "the user lives in Rome . "},
    {"role": "user", "content": "where does the user live ?"},
]


def decoded(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True).strip()


# ------------------------------------------------------------------ tokens


def test_tokens_are_features():
    prompt = TextTokenInput("hello", Letters(), skip_tokens=["e"])
    e, h, o = (ord(c) % 64 for c in "eho")
    l_ = ord("l") % 64
    assert prompt.values == Letters().convert_ids_to_tokens([h, l_, l_, o])
    assert prompt.to_tensor().tolist() == [[1, 1, 1, 1]]
    assert prompt.to_model_input(torch.tensor([[1, 0, 1, 0]])).tolist() == [[h, e, 0, l_, 0]]
    assert prompt.itp_mask.tolist() == [[True, False, True, True, True]]
    assert prompt.itp_tensor.tolist() == [[h, l_, l_, o]]
    assert prompt.inp_tensor.tolist() == [[h, e, l_, l_, o]]
    gone = TextTokenInput("hello", Letters(), baselines=None, skip_tokens=["e"])
    rows = gone.to_model_inputs(torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0]]))
    assert [row.tolist() for row in rows] == [[h, e, l_], [e]]
    with pytest.raises(ValueError, match="one coalition at a time"):
        gone.to_model_input(torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0]]))


def test_bad_token_inputs():
    with pytest.raises(TypeError, match="expected a text"):
        TextTokenInput(MESSAGES, words())
    with pytest.raises(ValueError, match="at least one feature"):
        TextTokenInput("aa", Letters(), skip_tokens=["a"])
    with pytest.raises(ValueError, match="one of 'tokens', 'paragraphs'"):
        TextTokenInput("the cat", words(), groups="syllables")
    with pytest.raises(ValueError, match="groups that stand in the text"):
        TextTokenInput("the cat", words(), groups=["dog"])
    with pytest.raises(ValueError, match=r"\(start, stop\)"):
        TextTokenInput("the cat", words(), groups=[(3, 99)])
    with pytest.raises(ValueError, match="features that can be cut"):
        TextTokenInput("the cat", words()).cut([0], "words")
    with pytest.raises(ValueError, match="a list of messages"):
        ChatInput("hello", words())


@pytest.mark.parametrize("make", TOKENIZERS)
def test_groups_of_tokens(make):
    """A word's tokens go together; everything else keeps its ids."""
    tokenizer = make()
    text = "the lazy dog's mat , well-known !"
    prompt = TextTokenInput(text, tokenizer, baselines=None, groups="words")
    assert prompt.values == ["the", "lazy", "dog's", "mat", ",", "well-known", "!"]
    for i in range(7):
        there = np.arange(7) != i
        (row,) = prompt.to_model_inputs(torch.from_numpy(there)[None])
        assert row.tolist() == prompt.ids[~prompt.membership.absent(there[None])[0]].tolist()
        left = decoded(tokenizer, row).replace(" ", "")
        if tokenizer is not words():  # which has unknown words
            assert left == "".join(w for w, t in zip(prompt.values, there, strict=True) if t)
    nothing = prompt.to_model_inputs(torch.zeros(1, 7))[0]
    assert decoded(tokenizer, nothing).strip() == ""


def test_a_token_that_two_groups_share_leaves_with_either():
    tokenizer = bytes_bpe()
    prompt = TextTokenInput("the cat", tokenizer, baselines=None, groups=[(0, 2), (2, 7)])
    the = tokenizer.convert_tokens_to_ids("the")
    assert the in prompt.ids, "one token that the border cuts"
    for there in ([1, 0], [0, 1]):
        assert the not in prompt.to_model_inputs(torch.tensor([there]))[0]
    scores = torch.arange(1.0, len(prompt.ids) + 1)
    gathered = prompt.gather(scores)
    at = prompt.ids.tolist().index(the)
    assert gathered[0] == scores[at] / 2
    assert gathered.sum() == scores[prompt.membership.tokens].sum()


def test_bytes_of_a_character_go_together():
    prompt = TextTokenInput("a 東 b", bytes_bpe(), baselines=None, groups="tokens")
    assert prompt.values == ["a", "東", "b"]
    (row,) = prompt.to_model_inputs(torch.tensor([[1, 0, 1]]))
    assert decoded(bytes_bpe(), row).split() == ["a", "b"]


def test_cutting_finer():
    text = "the cat sat . the dog jumps ! where ?\nhello world"
    prompt = TextTokenInput(text, words(), groups="sentences")
    assert prompt.values == ["the cat sat .", "the dog jumps !", "where ?", "hello world"]
    finer = prompt.cut([1], "words").cut([0], "tokens")
    assert finer.values == [
        "the",
        "cat",
        "sat",
        ".",
        "the",
        "dog",
        "jumps",
        "!",
        *prompt.values[2:],
    ]
    assert prompt.n_itp_features == 4, "the coarse prompt stays"
    paragraphs = TextTokenInput("the cat\nsat\n\nhello", words(), groups="paragraphs")
    assert paragraphs.values == ["the cat\nsat", "hello"]


def test_a_slow_tokenizer_is_followed_by_decoding():
    prompt = TextTokenInput("ab cd", _Spelling(), baselines=None, groups="words")
    assert prompt.values == ["ab", "cd"]
    assert prompt.to_model_inputs(torch.tensor([[0, 1]]))[0].tolist() == [ord(c) for c in " cd"]

    class Upper(_Spelling):
        def decode(self, ids):
            return super().decode(ids).upper()

    with pytest.raises(ValueError, match="which characters a token stands for"):
        TextTokenInput("ab cd", Upper(), groups="words")


class _Spelling(Letters):
    def encode(self, text, add_special_tokens=True):
        return [ord(c) for c in text]

    def decode(self, ids):
        return "".join(map(chr, ids))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(" ".join(TEXTS).split()), min_size=1, max_size=12), st.data())
def test_segments_cover_their_text(chosen, data):
    """Whatever the words and the tokenizer, a coalition of words spells exactly those words."""
    tokenizer = data.draw(st.sampled_from([bytes_bpe, metaspace_bpe]))()
    text = " ".join(chosen)
    groups = [m.span() for m in re.finditer(r"\S+", text)]
    prompt = TextTokenInput(text, tokenizer, baselines=None, groups=groups)
    there = np.array(data.draw(st.lists(st.booleans(), min_size=len(groups), max_size=len(groups))))
    (row,) = prompt.to_model_inputs(torch.from_numpy(there)[None])
    left = "".join(w for w, t in zip(chosen, there, strict=True) if t)
    assert decoded(tokenizer, row).replace(" ", "") == left


# ---------------------------------------------------------------- templates


def test_values_are_features():
    prompt = TextTemplateInput("{} lives in {}", ["Dave", "Rome"])
    assert prompt.to_model_input() == "Dave lives in Rome"
    assert prompt.to_model_input(torch.tensor([[1.0, 0]])) == "Dave lives in "
    named = TextTemplateInput(
        "{a} lives in {b}, {c}",
        {"a": "Dave", "b": "Rome", "c": "Italy"},
        baselines={"c": "Peru", "b": "Lima", "a": "She"},
        mask={"a": 7, "b": 3, "c": 3},
    )
    assert named.n_itp_features == 2
    assert named.to_model_input(torch.tensor([[0, 1]])) == "Dave lives in Lima, Peru"
    assert named.format_attr(torch.tensor([[1.0, 2.0]])).tolist() == [[2, 1, 1]]
    assert named.to_tensor().shape == (1, 2)
    function = TextTemplateInput(lambda *parts: "|".join(parts), ["x", "y"], ["-", "_"])
    assert function.to_model_inputs(torch.tensor([[0, 1], [1, 0]])) == ["-|y", "x|_"]


def test_baselines_that_are_drawn():
    torch.manual_seed(0)
    prompt = TextTemplateInput(
        "{who} from {city} in {state}",
        {"who": "Dave", "city": "Rome", "state": "Italy"},
        baselines=ProductBaselines(
            {"who": ["Ann", "Bob"], ("city", "state"): [("Lima", "Peru"), ("Oslo", "Norway")]}
        ),
    )
    made = {prompt.to_model_input(torch.zeros(1, 3)) for _ in range(40)}
    pairs = [("Lima", "Peru"), ("Oslo", "Norway")]
    assert made == {f"{who} from {c} in {s}" for who in ("Ann", "Bob") for c, s in pairs}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TextTemplateInput("{} {}", ["a"]), "a template that the values fill"),
        (lambda: TextTemplateInput("{x}", {"y": "a"}), "a template that the values fill"),
        (lambda: TextTemplateInput("{}", []), "at least one value"),
        (lambda: TextTemplateInput("{}", ["a"], ["b", "c"]), "baselines in the form"),
        (lambda: TextTemplateInput("{}", ["a"], "b"), "baselines in the form"),
        (lambda: TextTemplateInput("{}", ["a"], {"x": "b"}), "baselines in the form"),
        (lambda: TextTemplateInput("{x}", {"x": "a"}, mask=[0]), "a mask in the form"),
        (
            lambda: TextTemplateInput("{} {}", ["a", "b"]).to_model_input(torch.ones(1, 3)),
            "one coalition of 2 features",
        ),
        (
            lambda: TextTemplateInput("{:>9}", ["a"]).as_tokens(words()),
            "writes its values as they are",
        ),
    ],
)
def test_bad_templates(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("make", TOKENIZERS)
def test_a_template_as_tokens(make):
    """Encoded once: whatever leaves, what stays keeps its ids; a mask's values go together."""
    tokenizer = make()
    template = TextTemplateInput(
        "{who} lives in {city} , {who} !", {"who": "Dave", "city": "Palm Coast"}
    )
    prompt = template.as_tokens(tokenizer)
    assert prompt.values == ["Dave … Dave", "Palm Coast"]
    assert prompt.ids.tolist() == tokenizer.encode("Dave lives in Palm Coast , Dave !")
    row = prompt.to_model_inputs(torch.tensor([[1, 0]]))[0]
    assert decoded(tokenizer, row).split() == ["Dave", "lives", "in", ",", "Dave", "!"]
    assert set(row) <= set(prompt.ids)
    grouped = TextTemplateInput("{} {} {}", ["the", "lazy", "dog"], mask=[0, 1, 0])
    row = grouped.as_tokens(tokenizer).to_model_inputs(torch.tensor([[0, 1]]))[0]
    assert decoded(tokenizer, row) == "lazy"


# -------------------------------------------------------------------- chats


@pytest.mark.parametrize("make", TOKENIZERS)
def test_chats_begin_once(make):
    tokenizer = make()
    chat = ChatInput(MESSAGES, tokenizer)
    start = tokenizer.bos_token_id
    assert chat.ids.tolist().count(start) == 1
    assert chat.ids[0] == start
    assert chat.text.endswith("assistant : ")
    # What the template wrote, and a user encodes again, begins once too.
    assert tokens.encode(tokenizer, chat.text).tolist() == chat.ids.tolist()
    template = TextTemplateInput(lambda x: [{"role": "user", "content": x}], ["hello world"])
    made = template.to_model_input()
    assert tokens.encode_chat(tokenizer, made).tolist().count(start) == 1


def test_a_chat_s_features_are_its_contents():
    chat = ChatInput(MESSAGES, words())
    assert " ".join(chat.values) == "the user lives in Rome . where does the user live ?"
    (row,) = ChatInput(MESSAGES, words(), baselines=None).to_model_inputs(torch.zeros(1, 12))
    left = words().decode(row).replace(" ", "")
    assert left == "<s>system:</s>user:</s>assistant:"
    by_message = ChatInput(MESSAGES, words(), groups="messages")
    assert by_message.values == ["the user lives in Rome .", "where does the user live ?"]
    by_word = ChatInput(MESSAGES, words(), groups="words")
    assert by_word.n_itp_features == 12
    started = [*MESSAGES, {"role": "assistant", "content": "Dave"}]
    assert not ChatInput(started, words()).text.endswith("assistant : ")


def test_a_chat_template_s_values():
    template = TextTemplateInput(
        lambda who, where: [{"role": "user", "content": f"{who} lives in {where} ?"}],
        ["Dave", "Rome"],
    )
    prompt = template.as_tokens(words())
    assert isinstance(prompt, ChatInput)
    assert prompt.values == ["Dave", "Rome"]
    assert prompt.ids.tolist() == tokens.encode_chat(words(), template.to_model_input()).tolist()


def test_bad_chats():
    tokenizer = words()
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(ValueError, match="a tokenizer with a chat template"):
            ChatInput(MESSAGES, tokenizer)
        tokenizer.chat_template = "{% for m in messages %}{{ m['content'][:5] }}{% endfor %}"
        with pytest.raises(ValueError, match="writes as they are"):
            ChatInput(MESSAGES, tokenizer)
    finally:
        tokenizer.chat_template = template


# ------------------------------------------------------------------ targets


@pytest.mark.parametrize("make", TOKENIZERS)
@pytest.mark.parametrize("target", ["mat", "mat !", "the lazy dog"])
def test_targets_are_exactly_their_text(make, target):
    """As they follow the prompt: no start of text, and no other spelling of the first word."""
    tokenizer = make()
    for prompt, space in (("the cat sat on the", " "), ("the cat sat on the ", "")):
        ids = tokens.encode(tokenizer, prompt)
        found = tokens.target_ids(tokenizer, prompt, ids, space + target)
        assert tokenizer.bos_token_id not in found
        assert decoded(tokenizer, found) == target
        joint = tokens.encode(tokenizer, prompt + space + target)
        if np.array_equal(joint[: len(ids)], ids):
            assert np.array_equal(np.concatenate([ids, found]), joint)
    with pytest.raises(ValueError, match="at least one token"):
        tokens.target_ids(tokenizer, "the", tokens.encode(tokenizer, "the"), "")


def test_levels():
    text = "One two. Three, four!  Five\n\nSix"
    whole = [(0, len(text))]

    def names(level):
        return [segments.label(text, s) for s in segments.cut(text, whole, level)]

    assert names("sentences") == ["One two.", "Three, four!", "Five", "Six"]
    assert names("paragraphs") == ["One two. Three, four!  Five", "Six"]
    assert names("words") == ["One", "two", ".", "Three", ",", "four", "!", "Five", "Six"]
