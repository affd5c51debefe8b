# %% [markdown]
# # Text sentiment: which words made this review good or bad?
#
# A convolutional network reads a short review and says how likely it is a good one. We ask which
# words it read. Token ids cannot be moved a little, so the question is asked at the *embedding*:
#
# $$\text{score}_t = \sum_d (e - e_0)_{td} \int_0^1 \frac{\partial f}{\partial e_{td}}
# \big(e_0 + \alpha (e - e_0)\big)\, d\alpha$$
#
# with $e$ the embeddings of the words and $e_0$ those of padding. The scores sum to
# $f(e) - f(e_0)$.
#
# The reviews are made here from a rule, so the truth is known: good words count +1, bad ones -1,
# and *not* turns the word behind it around.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from captum.attr import (
    IntegratedGradients,
    LayerIntegratedGradients,
    Neuron,
    TokenReferenceBase,
    visualization,
)

torch.manual_seed(0)
device = torch.device("cpu")
BLUE, RED, GREY = "#2b6c99", "#c0564b", "#9aa3ab"

# %% [markdown]
# ## Reviews from a rule

# %%
GOOD = ["brilliant", "charming", "funny", "good", "great", "moving", "superb", "witty"]
BAD = ["awful", "bad", "boring", "clumsy", "dull", "silly", "terrible", "weak"]
PLAIN = ["the", "film", "plot", "cast", "was", "and", "a", "this", "movie", "scene", "it", "with"]
WORDS = ["<pad>", "not", *GOOD, *BAD, *PLAIN]
PAD, NOT = 0, 1
LENGTH = 9


def reviews(count):
    """Ids (count, 9) of four to nine words, padded, and what each word counts: -1, 0 or +1."""
    ids = torch.randint(2 + len(GOOD) + len(BAD), len(WORDS), (count, LENGTH))  # plain words
    spoken = torch.rand(count, LENGTH) < 0.4
    ids = torch.where(spoken, torch.randint(2, 2 + len(GOOD) + len(BAD), ids.shape), ids)
    turned = (torch.rand(count, LENGTH) < 0.5) & spoken.roll(-1, 1)
    turned[:, -1] = False
    ids[turned] = NOT
    ids[torch.arange(LENGTH) >= torch.randint(4, LENGTH + 1, (count, 1))] = PAD
    good = (ids >= 2) & (ids < 2 + len(GOOD))
    bad = (ids >= 2 + len(GOOD)) & (ids < 2 + len(GOOD) + len(BAD))
    counts = good.long() - bad.long()
    after_not = F.pad(ids[:, :-1] == NOT, (1, 0))
    return ids, torch.where(after_not, -counts, counts)


ids, counts = reviews(6000)
decided = counts.sum(1) != 0
ids, counts = ids[decided], counts[decided]
labels = (counts.sum(1) > 0).float()
(x_train, x_test), (y_train, y_test) = (each.split([len(ids) - 300, 300]) for each in (ids, labels))


# %%
class CNN(nn.Module):
    """Filters over two, three and four words, the strongest match of each, one linear layer."""

    def __init__(self, words, width=16, filters=24, sizes=(2, 3, 4)):
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=PAD)
        self.convs = nn.ModuleList(nn.Conv2d(1, filters, (size, width)) for size in sizes)
        self.fc = nn.Linear(len(sizes) * filters, 1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, text):
        embedded = self.embedding(text).unsqueeze(1)
        found = [F.relu(conv(embedded)).squeeze(3).max(dim=2).values for conv in self.convs]
        return self.fc(self.dropout(torch.cat(found, dim=1)))


model = CNN(len(WORDS))
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
for _ in range(16):
    for rows in torch.randperm(len(x_train)).split(64):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x_train[rows])[:, 0], y_train[rows]).backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    accuracy = float(((model(x_test)[:, 0] > 0) == y_test.bool()).float().mean())
print(f"accuracy on 300 new reviews: {accuracy:.2f}")
assert accuracy > 0.9


# %% [markdown]
# ## One review at a time
#
# The reference is the review's length in padding. `n_steps=500` makes the sum exact to a few
# digits; the delta says how exact.


# %%
def forward_with_sigmoid(input):
    return torch.sigmoid(model(input))


lig = LayerIntegratedGradients(model, model.embedding)
token_reference = TokenReferenceBase(reference_token_idx=PAD)
vis_data_records_ig = []
attributions_of, deltas = {}, []


def interpret_sentence(sentence, min_len=LENGTH, label=0):
    text = sentence.split()
    text += ["<pad>"] * (min_len - len(text))
    input_indices = torch.tensor([[WORDS.index(word) for word in text]], device=device)
    pred = forward_with_sigmoid(input_indices).item()

    reference_indices = token_reference.generate_reference(len(text), device=device).unsqueeze(0)
    attributions_ig, delta = lig.attribute(
        input_indices, reference_indices, n_steps=500, return_convergence_delta=True
    )
    words = attributions_ig.sum(dim=2).squeeze(0)
    attributions_of[sentence] = dict(zip(text, words.tolist(), strict=True))
    deltas.append(float(delta))
    vis_data_records_ig.append(
        visualization.VisualizationDataRecord(
            words / torch.norm(words),
            pred,
            "good" if pred > 0.5 else "bad",
            "good" if label else "bad",
            "good",
            attributions_ig.sum(),
            text,
            delta,
        )
    )


interpret_sentence("the film was superb and funny", label=1)
interpret_sentence("a dull plot and a weak cast", label=0)
interpret_sentence("the cast was not awful", label=1)
interpret_sentence("this movie was not good", label=0)
interpret_sentence("a silly plot and a brilliant and witty cast", label=1)

visualization.visualize_text(vis_data_records_ig)

# %% [markdown]
# **What one should see.** Good words green, bad words red, plain words and padding white; and
# behind *not* the colours turn: in "not awful", what stands in for praise is shared by the two
# words.

# %%
print("deltas:", [f"{d:+.3f}" for d in deltas])
assert max(map(abs, deltas)) < 0.05
assert all(record.pred_class == record.true_class for record in vis_data_records_ig)
plain_praise = attributions_of["the film was superb and funny"]
assert plain_praise["superb"] + plain_praise["funny"] > 5 * abs(plain_praise["film"])
assert plain_praise["<pad>"] == 0
turned = attributions_of["this movie was not good"]
assert turned["not"] + turned["good"] < 0

# %% [markdown]
# ## Going further
#
# **The ids themselves.** Integer inputs are followed to their embedding lookup, whatever it is
# called: one score per id, for a whole batch, and no layer to name. It is the same integral.

# %%
ig = IntegratedGradients(model)
reference = token_reference.generate_reference(LENGTH, device=device).unsqueeze(0)
scores, delta = ig.attribute(
    x_test, baselines=reference, n_steps="auto", tol=0.05, return_convergence_delta=True
)
print(f"{len(x_test)} reviews, {ig.steps_taken} steps, |delta| <= {float(delta.abs().max()):.3f}")

few = x_test[:20]
at_layer = lig.attribute(few, reference.expand_as(few), n_steps=100)
at_ids = ig.attribute(few, baselines=reference, n_steps=100)
assert at_ids.shape == few.shape
assert torch.allclose(at_ids, at_layer.sum(-1), atol=1e-4)

# %% [markdown]
# **Three hundred reviews against the rule.** The rule says what each word counts; behind *not*
# both words carry the verdict, so their scores are added.

# %%
truth = counts[-300:]
units = scores + F.pad(torch.where(x_test == NOT, scores, 0)[:, :-1], (1, 0))
told = {value: units[(truth == value) & (x_test > NOT)] for value in (-1, 0, 1)}

_, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
bins = torch.linspace(-6, 6, 61).tolist()
for value, color, name in ((0, GREY, "0: plain"), (-1, RED, "-1: blame"), (1, BLUE, "+1: praise")):
    weights = torch.full_like(told[value], 1 / len(told[value]))
    axis.hist(
        told[value].tolist(), bins, weights=weights.tolist(), color=color, alpha=0.7, label=name
    )
axis.set(xlabel="score (logit)", ylabel="share of words", ylim=(0, 0.3))
axis.set_title("What words score, by what they count in the rule", loc="left")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()

right = float((told[1] > 0).float().mean()), float((told[-1] < 0).float().mean())
print(f"scores with the rule's sign: praise {right[0]:.2f}, blame {right[1]:.2f}")
assert min(right) > 0.8
assert float(told[0].abs().mean()) < 0.4 * float(told[1].abs().mean())

# %% [markdown]
# **What one filter reads.** `of=` explains a neuron instead of the output, with any method. The
# pairs of words on which one filter of width two fires most, and what it reads in them:

# %%
with torch.no_grad():
    found = F.relu(model.convs[0](model.embedding(x_test).unsqueeze(1))).squeeze(3)
spread = found.amax(2).std(0)
chosen = int((spread * model.fc.weight[0, : len(spread)].abs()).argmax())
strongest = Neuron(model.convs[0], lambda value: value[:, chosen, :, 0].amax(1))
by_filter = IntegratedGradients(model, of=strongest).attribute(x_test, baselines=reference)
best = found[:, chosen].amax(1).argsort(descending=True)[:6]
visualization.visualize_text(
    [
        visualization.VisualizationDataRecord(
            by_filter[i] / by_filter[i].abs().max(),
            float(found[i, chosen].amax()),
            "fires",
            "good" if y_test[i] else "bad",
            f"filter {chosen}",
            by_filter[i].sum(),
            [WORDS[j] for j in x_test[i]],
            0.0,
        )
        for i in best.tolist()
    ]
)

# %%
# A filter of width two reads two neighbours: nearly all of its score lies on one pair.
pairs = by_filter[best].abs()
on_pair = (pairs + F.pad(pairs[:, 1:], (0, 1))).amax(1) / pairs.sum(1)
print("share of the best pair:", [f"{s:.2f}" for s in on_pair.tolist()])
assert float(on_pair.mean()) > 0.7
plt.close("all")
