# %% [markdown]
# # Concepts in text: positive adjectives
#
# A small convolutional net reads film reviews and says whether they are good. Does it think in
# *positive adjectives*? That is an idea, not a word, so we show it as examples: scraps of text with
# such adjectives in them, and scraps without. They are no reviews, and no sentences: all that they
# share with one is the idea.

# %%
import csv
import random
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from captum.concept import (
    TCAV,
    Concept,
    CustomIterableDataset,
    DefaultClassifier,
    dataset_to_dataloader,
)
from toy_reviews import BAD, GOOD, LENGTH, PAD, PLAIN, THINGS, WORDS, encode, review

torch.manual_seed(0)
chance = random.Random(0)
reviews = [each for each in (review(chance) for _ in range(6000)) if each.but is None]
ids = encode(reviews)["input_ids"]
labels = torch.tensor([float(each.good) for each in reviews])
print(len(reviews), "reviews, such as:", " ".join(reviews[0].tokens[1:-1]))

# %% [markdown]
# ## A net that reads


# %%
class Reader(nn.Module):
    """Looks for patterns of two, three and four words, wherever they stand."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), 24, padding_idx=PAD)
        self.convs = nn.ModuleList(nn.Conv1d(24, 24, width) for width in (2, 3, 4))
        self.fc = nn.Linear(72, 1)

    def forward(self, text):
        embedded = self.embedding(text).transpose(1, 2)
        found = [F.relu(conv(embedded)).amax(2) for conv in self.convs]
        return self.fc(torch.cat(found, 1))


model = Reader()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(150):
    rows = torch.randint(len(ids), (64,))
    optimizer.zero_grad()
    F.binary_cross_entropy_with_logits(model(ids[rows])[:, 0], labels[rows]).backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    right = ((model(ids)[:, 0] > 0) == labels.bool()).float().mean()
print(f"{right:.0%} of the reviews are read rightly")
assert right > 0.95

# %% [markdown]
# ## Examples in files
#
# A scrap is as long as a review: the layer's value knows the place of a word, and a vector that was
# found in the first seven places says nothing of the others. As one would with texts of one's own,
# we write them into a file for each concept, and read them from there: `CustomIterableDataset`
# takes a function that yields a file's examples, `dataset_to_dataloader` makes batches of them.

# %%
temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)


def scraps(name, adjectives, count=300):
    """A file of scraps of text, some with six of the adjectives in them."""
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        for _ in range(count):
            words = chance.choices(THINGS + PLAIN[:-1], k=LENGTH)
            for place in chance.sample(range(LENGTH), 6 if adjectives else 0):
                words[place] = chance.choice(adjectives)
            writer.writerow([" ".join(words)])


def read(path):
    """The scraps of a file, as ids."""
    with open(path, newline="") as file:
        for (text,) in csv.reader(file):
            yield torch.tensor([WORDS.index(word) for word in text.split()])


def concept(number, name, adjectives):
    scraps(name, adjectives)
    dataset = CustomIterableDataset(read, str(folder / f"{name}.csv"))
    return Concept(number, name, dataset_to_dataloader(dataset, batch_size=16))


positive = concept(0, "positive adjectives", GOOD)
negative = concept(1, "negative adjectives", BAD)
neutrals = [concept(10 + i, f"neutral {i}", []) for i in range(8)]
another = concept(2, "neutral", [])
print((folder / "positive adjectives.csv").read_text().splitlines()[0])

# %% [markdown]
# ## Does the verdict rise along the concept?
#
# The layers are the convolutions, by name; the output is one number, so there is no target.

# %%
texts = ids[labels == 1][:100]
tcav = TCAV(model, ["convs.0", "convs.1", "convs.2"], classifier=DefaultClassifier(fit="logistic"))
scores = tcav.interpret(texts, [[positive, neutrals[0]], [negative, neutrals[0]]])
for name, by_layer in scores.items():
    for layer, found in by_layer.items():
        print(f"concepts {name}, {layer}: {float(found['sign_count'][0]):.2f}")
assert all(float(found["sign_count"][0]) > 0.9 for found in scores["0-10"].values())
assert all(float(found["sign_count"][0]) < 0.1 for found in scores["1-10"].values())

# %% [markdown]
# ## Is it more than chance?
#
# Each concept against eight lots of neutral scraps, and these against one another. One more lot of
# neutral scraps takes part as if it were a concept: it must not stand out.

# %%
result = tcav.test(texts, [positive, negative, another], neutrals)
result.plot(show=True)
for i, name in enumerate(result.concepts):
    shares = [f"{float(share):.2f}" for share in result.scores[i].mean(-1)]
    print(f"{name:20}", ", ".join(shares), "  other than chance:", result.significant()[i].tolist())
assert bool(result.significant()[0].all())
assert bool(result.significant()[1].all())
assert not bool(result.significant()[2].any())

# %% [markdown]
# The verdict rises along *positive adjectives* in every convolution and falls along the negative
# ones, more than it does along anything that scraps without such words have in common.
