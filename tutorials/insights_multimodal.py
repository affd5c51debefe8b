# %% [markdown]
# # Insights: a picture and a question
#
# A model with several inputs has a `Feature` for each. Beside the scores within the picture and
# within the question, Insights says how much of the answer each of them carries. The model sees two
# coloured squares and is asked for the colour of one: an answer that owes nothing to the question
# would be a lucky one.

# %%
import torch
from torch import nn

from captum.attr import (
    TokenReferenceBase,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)
from captum.insights import AttributionVisualizer, Batch
from captum.insights.features import ImageFeature, TextFeature

_ = torch.manual_seed(1)
COLOURS = {"red": (0.9, 0.2, 0.2), "green": (0.2, 0.7, 0.3), "blue": (0.2, 0.3, 0.9)}
ANSWERS = list(COLOURS)
WORDS = ["<pad>", "what", "colour", "is", "the", "square", "on", "left", "right", "?"]
QUESTIONS = ["what colour is {} ?", "what is on the {} ?", "what colour is the square on the {} ?"]
PAD, LENGTH = 0, 9

# %% [markdown]
# ## Task and model
#
# Pictures of 3 × 16 × 16 with a square on either side; a convolution for the picture, an LSTM for
# the question, which is told the question's length as a further argument. Some questions are empty
# and some pictures black while it learns, so that it knows the baselines.


# %%
def encode_question(question):
    ids = [WORDS.index(word) for word in question.split()]
    return torch.tensor(ids + [PAD] * (LENGTH - len(ids))), torch.tensor(max(1, len(ids)))


def draw(left, right):
    picture = 0.15 * torch.rand(3, 16, 16)
    for colour, edge in ((left, 1), (right, 10)):
        top = int(torch.randint(0, 11, ()))
        rgb = torch.tensor(COLOURS[colour])[:, None, None]
        picture[:, top : top + 5, edge : edge + 5] = rgb
    return picture


def sample():
    pair = torch.randperm(3)[:2].tolist()
    side = int(torch.randint(2, ()))
    question = QUESTIONS[int(torch.randint(3, ()))].format(("left", "right")[side])
    return draw(*(ANSWERS[i] for i in pair)), question, pair[side]


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), 12, padding_idx=PAD)
        self.lstm = nn.LSTM(12, 32, batch_first=True)

    def forward(self, question, length):
        states, _ = self.lstm(self.embedding(question))
        return states[torch.arange(len(length)), length - 1]


class VQA(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = nn.ModuleDict({
            "image": nn.Sequential(
                nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
                nn.Linear(192, 64), nn.ReLU(),
            ),
            "text": Text(), "gate": nn.Linear(32, 64), "answer": nn.Linear(64, len(ANSWERS)),
        })  # fmt: skip

    def forward(self, image, question, length):
        part = self.module
        return part["answer"](part["image"](image) * part["gate"](part["text"](question, length)))


net = VQA()
rows = [sample() for _ in range(1500)]
pictures = torch.stack([picture for picture, _, _ in rows])
encoded = [encode_question(question) for _, question, _ in rows]
ids, lengths = (torch.stack(each) for each in zip(*encoded, strict=True))
answers = torch.tensor([answer for _, _, answer in rows])
ids[torch.rand(len(ids)) < 0.1] = PAD
dark = torch.rand(len(ids)) < 0.1
pictures[dark] = 0
answers[dark] = torch.randint(0, 3, (int(dark.sum()),))
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
for _epoch in range(10):
    for part in torch.randperm(len(ids)).split(64):
        output = net(pictures[part], ids[part], lengths[part])
        loss = nn.functional.cross_entropy(output, answers[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
net = net.eval()

# %% [markdown]
# ## Two features
#
# The classical way for words: the embedding layer is taken out, `input_transforms` embeds the ids,
# `baseline_transforms` embeds as much padding, and `visualization_transform` makes words of ids.

# %%
interpretable_embedding = configure_interpretable_embedding_layer(net, "module.text.embedding")
token_reference = TokenReferenceBase(reference_token_idx=PAD)


def input_text_transform(x):
    return interpretable_embedding.indices_to_embeddings(x)


def baseline_text(x):
    reference = token_reference.generate_reference(x.size(0), device="cpu")
    return interpretable_embedding.indices_to_embeddings(reference)


def itos(input):
    return [WORDS[int(i)] for i in input.squeeze(0) if int(i) != PAD]


def vqa_dataset(rows):
    for picture, question, answer in rows:
        q, q_len = encode_question(question)
        yield Batch(
            inputs=(picture.unsqueeze(0), q.unsqueeze(0)),
            labels=(answer,),
            additional_args=q_len.unsqueeze(0),
        )


seen = [sample() for _ in range(40)]
visualizer = AttributionVisualizer(
    models=[net],
    score_func=lambda o: nn.functional.softmax(o, 1),
    features=[
        ImageFeature("Picture", input_transforms=[], baseline_transforms=[lambda x: x * 0]),
        TextFeature(
            "Question",
            input_transforms=[input_text_transform],
            baseline_transforms=[baseline_text],
            visualization_transform=itos,
        ),
    ],
    dataset=vqa_dataset(seen),
    classes=ANSWERS,
)

# %%
outputs = [output for [output] in visualizer.visualize(examples=len(seen))]
right = sum(output.predicted[0].index == output.actual.index for output in outputs)
print(f"{right} of {len(outputs)} answers are right")
assert right > 0.9 * len(outputs)

for output in outputs[:3]:
    picture, question = output.feature_outputs
    scores = zip(question.base, question.modified, strict=True)
    print(f"{output.predicted[0].label}: picture {picture.contribution:.0%}, ", end="")
    print(f"question {question.contribution:.0%}:", *(f"{w} {s:+.2f}" for w, s in scores))

# %% [markdown]
# **What one should see.** Both inputs carry a share. Among the words the one that names the side
# has the most, or the second most: the LSTM hands over what it remembers when it meets the question
# mark, and how much of the credit stays there is its own affair.

# %%
shares = torch.tensor([[f.contribution for f in output.feature_outputs] for output in outputs])
print(f"mean share: picture {shares[:, 0].mean():.0%}, question {shares[:, 1].mean():.0%}")
assert torch.allclose(shares.sum(1), torch.ones(len(shares)))
assert shares.min(0).values.min() > 0.02

found = 0
for output in outputs:
    question = output.feature_outputs[1]
    first = torch.tensor(question.modified).abs().topk(2).indices.tolist()
    found += any(question.base[i] in ("left", "right") for i in first)
print(f"the side is among the two weightiest words of {found} in {len(outputs)} questions")
assert found > 0.9 * len(outputs)

# %% [markdown]
# ## Without surgery, and in a file
#
# Ids are attributed through the lookup in the embedding. With the layer back in its place the
# features need no transforms but the padding, and the shares are the same. The file holds two
# methods side by side.

# %%
remove_interpretable_embedding_layer(net, interpretable_embedding)
plain = AttributionVisualizer(
    models=[net],
    score_func=lambda o: nn.functional.softmax(o, 1),
    features=[
        ImageFeature("Picture", None, None),
        TextFeature("Question", lambda ids: torch.full_like(ids, PAD), None, itos),
    ],
    dataset=vqa_dataset(seen),
    classes=ANSWERS,
)
for [ours], classical in zip(plain.visualize(examples=5), outputs, strict=False):
    for one, other in zip(ours.feature_outputs, classical.feature_outputs, strict=True):
        assert abs(one.contribution - other.contribution) < 1e-4

methods = ["IntegratedGradients", ("FeatureAblation", {"patch": 4})]
path = plain.save("questions.html", methods, examples=6)
print(f"{path}: {path.stat().st_size / 1024:.0f} kB")
assert "<pad>" not in "".join(outputs[0].feature_outputs[1].base)
