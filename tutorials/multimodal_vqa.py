# %% [markdown]
# # A picture and a question: who made the answer?
#
# A model gets a picture and a question about it and answers with a colour. Which *region* of the
# picture and which *word* made the answer, and how much of it came from either input? A model that
# looks at the wrong square, or does not read, can still be right by luck; attributions tell.
#
# The task is made here, so the truth is known: two coloured squares, one left, one right, and
# questions like *what colour is left ?*

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

from captum.attr import (
    IntegratedGradients,
    Targets,
    TokenReferenceBase,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
    visualization,
)

torch.manual_seed(1)
BLUE, RED, GREY, GOLD = "#2b6c99", "#c0564b", "#9aa3ab", "#d9a441"

# %% [markdown]
# ## The task
#
# 3 × 16 × 16 pictures on a dim, noisy ground. A tenth of the questions are empty, a tenth of the
# pictures black, and then the right answer is a matter of luck: the model learns that it cannot
# know. Both will be baselines, and a baseline should be something the model has met.

# %%
COLOURS = {"red": (0.9, 0.2, 0.2), "green": (0.2, 0.7, 0.3), "blue": (0.2, 0.3, 0.9),
           "yellow": (0.9, 0.8, 0.2)}  # fmt: skip
ANSWERS = list(COLOURS)
WORDS = ["<pad>", "what", "which", "colour", "is", "on", "the", "left", "right", "?"]
PAD, SIDES = WORDS.index("<pad>"), ("left", "right")
PHRASES = ["what colour is {} ?", "which colour is on the {} ?", "what is on the {} ?"]
LENGTH = 7


def encode(question):
    ids = [WORDS.index(word) for word in question.split()]
    return ids + [PAD] * (LENGTH - len(ids))


def draw(colours, tops):
    """Pictures (N, 3, 16, 16) of two 5 × 5 squares, the left one and the right one."""
    pictures = 0.15 * torch.rand(len(colours), 3, 16, 16)
    palette = torch.tensor(list(COLOURS.values()))
    for picture, pair, heights in zip(pictures, colours, tops.tolist(), strict=True):
        for colour, top, edge in zip(pair, heights, (1, 10), strict=True):
            picture[:, top : top + 5, edge : edge + 5] = palette[colour][:, None, None]
    return pictures


def sample(rows):
    colours = torch.rand(rows, 4).argsort(1)[:, :2]  # two different ones
    pictures = draw(colours, torch.randint(0, 11, (rows, 2)))
    side = torch.randint(0, 2, (rows,))
    phrase = torch.randint(0, len(PHRASES), (rows,)).tolist()
    questions = [PHRASES[p].format(SIDES[s]) for p, s in zip(phrase, side.tolist(), strict=True)]
    ids = torch.tensor([encode(q) for q in questions])
    empty, dark = torch.rand(rows) < 0.1, torch.rand(rows) < 0.1
    ids[empty], pictures[dark] = PAD, 0
    answers = torch.where(dark, torch.randint(0, 4, (rows,)), colours[torch.arange(rows), side])
    return pictures, ids, answers, empty, dark


# %% [markdown]
# ## The model
#
# A convolution reads the picture and an LSTM the question, up to its length; the question weighs
# the picture's features.


# %%
class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), 12, padding_idx=PAD)
        self.lstm = nn.LSTM(12, 32, batch_first=True)

    def forward(self, question, length):
        states, _ = self.lstm(self.embedding(question))
        return states[torch.arange(len(length)), length - 1]


class VQA(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
            nn.Linear(12 * 16, 64), nn.ReLU(),
        )  # fmt: skip
        self.text = Text()
        self.gate = nn.Linear(32, 64)
        self.answer = nn.Linear(64, len(ANSWERS))

    def forward(self, image, question, length):
        gate = self.gate(self.text(question, length))
        return self.answer(self.image(image) * gate).softmax(1)


def lengths(ids):
    return (ids != PAD).sum(1).clamp(min=1)


net = VQA()
pictures, ids, answers, _, _ = sample(3000)
optimizer = torch.optim.Adam(net.parameters(), lr=4e-3, weight_decay=1e-3)
for _epoch in range(8):
    for rows in torch.randperm(len(ids)).split(64):
        output = net(pictures[rows], ids[rows], lengths(ids[rows]))
        loss = nn.functional.nll_loss(output.log(), answers[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

net.eval()
pictures, ids, answers, empty, dark = sample(500)
with torch.no_grad():
    right = net(pictures, ids, lengths(ids)).argmax(1) == answers
accuracy = {
    "picture and question": right[~empty & ~dark].float().mean(),
    "no question": right[empty & ~dark].float().mean(),
    "no picture": right[dark].float().mean(),
}
for given, value in accuracy.items():
    print(f"accuracy, {given:20s} {value:.2f}")
assert accuracy["picture and question"] > 0.95
assert max(accuracy["no question"], accuracy["no picture"]) < 0.75

# %% [markdown]
# ## Region and word
#
# Integrated gradients over *both* inputs at once, from a black picture and a question of padding;
# region and word scores then share one account:
#
# $$\sum_{pixels} s + \sum_{words} s = P(\text{answer} \mid x) - P(\text{answer} \mid x_0)$$
#
# Words are ids, which cannot move a little. The classical way: swap the embedding layer for an
# identity, hand in embeddings, and put it back.

# %%
picture = draw([(0, 2)], torch.tensor([[2, 8]]))  # red on the left, blue on the right
question = torch.tensor([encode("what colour is left ?")])
length = lengths(question)
red, blue = ANSWERS.index("red"), ANSWERS.index("blue")

token_reference = TokenReferenceBase(reference_token_idx=PAD)
reference = token_reference.generate_reference(LENGTH, device="cpu").unsqueeze(0)

interpretable_embedding = configure_interpretable_embedding_layer(net, "text.embedding")
question_emb = interpretable_embedding.indices_to_embeddings(question)
reference_emb = interpretable_embedding.indices_to_embeddings(reference)
ig = IntegratedGradients(net)
attributions, delta = ig.attribute(
    inputs=(picture, question_emb),
    baselines=(picture * 0, reference_emb),
    target=red,
    additional_forward_args=length,
    n_steps=200,
    return_convergence_delta=True,
)
remove_interpretable_embedding_layer(net, interpretable_embedding)

per_word = attributions[1].sum(2)
assert isinstance(net.text.embedding, nn.Embedding)
assert delta.abs().max() < 0.01

# %% [markdown]
# ## The same without surgery
#
# An integer input is attributed through its embedding lookup, one score per word. Nothing is
# swapped, the baseline is the padding *ids*, and the scores are the same.


# %%
def explain(image, ids, target, n_steps=200):
    """Scores per pixel (N, 16, 16) and per word (N, 7)."""
    image_scores, word_scores = ig.attribute(
        (image, ids),
        baselines=(0, PAD),
        target=target,
        additional_forward_args=lengths(ids),
        n_steps=n_steps,
    )
    return image_scores.sum(1), word_scores


pixels, words = explain(picture, question, red)
assert torch.allclose(pixels, attributions[0].sum(1), atol=1e-5)
assert torch.allclose(words, per_word, atol=1e-5)

# %% [markdown]
# `Targets` asks for both squares' colours in one run, a dict goes in by keyword and comes back as
# one: what argues for red argues, in large part, against blue.

# %%
named = {"image": picture, "question": question}
for_red, for_blue = ig.attribute(
    named, target=Targets(red, blue), forward_kwargs={"length": length}, n_steps=200
)
assert torch.allclose(for_red["question"], words, atol=1e-5)
left = WORDS.index("left")
place = question[0].tolist().index(left)
assert for_red["question"][0, place] > 0.05
assert for_blue["question"][0, place] < -0.05


# %% [markdown]
# ## Ask left, ask right, ask nothing
#
# One picture, three questions. The credit must move with the question: to the square that was
# asked for, and to the word that says which (less so where the model would give that answer
# without any words). The word-less question is the control: it *is* its baseline, so its words get
# exactly zero. Green argues for the answer, red against it.


# %%
def account(pixels, words):
    """The credit of left half, right half and words, one row per example."""
    halves = [pixels[..., :8].sum((1, 2)), pixels[..., 8:].sum((1, 2)), words.sum(1)]
    return torch.stack(halves, 1)


asked = ["what colour is left ?", "what colour is right ?", ""]
three = torch.tensor([encode(q) for q in asked])
pictures3 = picture.expand(3, -1, -1, -1)
with torch.no_grad():
    said = net(pictures3, three, lengths(three))
targets = said.argmax(1)
pixels, words = explain(pictures3, three, targets)
credit = account(pixels, words)
print(f"{'question':24s}{'answer':8s}{'P':>5s}{'left half':>11s}{'right half':>12s}{'words':>8s}")
for q, t, p, row in zip(asked, targets.tolist(), said, credit.tolist(), strict=True):
    scores = f"{row[0]:+11.2f}{row[1]:+12.2f}{row[2]:+8.2f}"
    print(f"{q or '(none)':24s}{ANSWERS[t]:8s}{p[t]:5.2f}{scores}")
assert targets[:2].tolist() == [red, blue]
assert (words[2] == 0).all()

# %%
figure, axes = plt.subplots(
    2, 4, figsize=(12, 4.8), layout="constrained", height_ratios=[2, 1], sharey="row"
)
visualization.visualize_image_attr(
    None, picture[0], method="original_image", plt_fig_axis=(figure, axes[0, 0]),
    use_pyplot=False, title="the picture",
)  # fmt: skip
axes[1, 0].set_axis_off()
for k, (q, (above, below)) in enumerate(zip(asked, axes.T[1:], strict=True)):
    title = f"{q or '(no question)'} → {ANSWERS[targets[k]]}"
    visualization.visualize_image_attr(
        pixels[k], picture[0], method="blended_heat_map", sign="all", alpha_overlay=0.7,
        plt_fig_axis=(figure, above), use_pyplot=False, title=title,
    )  # fmt: skip
    shown = q.split() or ["(padding)"]
    scores = words[k, : len(shown)].tolist()
    below.bar(shown, scores, color=[BLUE if s >= 0 else RED for s in scores])
    below.axhline(0, color=GREY, linewidth=0.8)
    below.spines[["top", "right"]].set_visible(False)
axes[1, 1].set_ylabel("contribution")
axes[1, 1].tick_params(labelleft=True)
plt.show()

# %% [markdown]
# ## Over many pictures
#
# One picture proves little. Over all questions answered rightly, the asked-for half must get the
# picture's credit and the word for the side must be the top word. The other half stays near zero
# or falls below: its square speaks for another colour. Without a question no half is preferred.

# %%
keep = right & ~empty & ~dark
pixels, words = explain(pictures[keep], ids[keep], answers[keep], n_steps=50)
credit = account(pixels, words)
is_side = (ids[keep] == left) | (ids[keep] == WORDS.index("right"))
asks_right = (ids[keep] == WORDS.index("right")).any(1).long()
every = torch.arange(len(credit))
of_asked, of_other = credit[every, asks_right], credit[every, 1 - asks_right]
region_right = (of_asked > of_other).float().mean()
word_right = (words.argmax(1) == is_side.int().argmax(1)).float().mean()
print(f"asked-for half ahead in {region_right:.0%}, side word on top in {word_right:.0%}")
assert region_right > 0.8
assert word_right > 0.85
assert of_asked.mean() > 0.3
assert of_asked.mean() > of_other.mean() + 0.3

blank = empty & ~dark
control = account(*explain(pictures[blank], ids[blank], answers[blank], n_steps=50)).mean(0)
assert control[2] == 0
assert (control[0] - control[1]).abs() < 0.5 * (of_asked - of_other).mean()

# %%
means = torch.stack([of_asked, of_other, credit[:, 2]]).mean(1).tolist()
figure, axis = plt.subplots(figsize=(7, 2.4), layout="constrained")
axis.barh(["asked-for half", "other half", "question"], means, color=[BLUE, GREY, GOLD])
axis.set(title="Where answers come from", xlabel="mean contribution to P(answer)")
axis.invert_yaxis()
axis.axvline(0, color=GREY, linewidth=0.8)
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
plt.close("all")
