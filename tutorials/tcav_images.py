# %% [markdown]
# # Concepts in pictures: does the net think of stripes?
#
# People explain with ideas, not with pixels. *Testing with concept activation vectors* (TCAV) asks
# whether an idea, given by examples, leads a model to an answer. We paint stripes and dots into
# noise, train a small net to tell them apart, and ask it about both: the idea that was planted must
# come out, and random pictures must not.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from captum.attr import LayerIntegratedGradients
from captum.concept import TCAV, Concept, DefaultClassifier

torch.manual_seed(0)
SIZE = 16


def noise(count):
    return 0.5 * torch.randn(count, 1, SIZE, SIZE)


def striped(count):
    """Stripes with a width, a direction and a place of their own."""
    pictures = noise(count)
    for picture in pictures:
        step = int(torch.randint(2, 5, ()))
        lines = ((torch.arange(SIZE) + int(torch.randint(0, 9, ()))) // step % 2).float()
        picture[0] += (2 * lines - 1) if torch.rand(()) < 0.5 else (2 * lines - 1)[:, None]
    return pictures


def dotted(count):
    """Some bright dots of three by three pixels."""
    pictures = noise(count)
    for picture in pictures:
        for row, column in torch.randint(0, SIZE - 3, (6, 2)).tolist():
            picture[0, row : row + 3, column : column + 3] += 2.0
    return pictures


# %% [markdown]
# ## A net that tells stripes from dots

# %%
inputs = torch.cat([striped(300), dotted(300)])
labels = torch.arange(600) // 300
model = nn.Sequential(
    nn.Conv2d(1, 12, 3),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(12, 16, 3),
    nn.ReLU(),
    nn.AdaptiveMaxPool2d(2),
    nn.Flatten(),
    nn.Linear(64, 2),
)
optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(15):
    for part in torch.randperm(600).split(50):
        optimiser.zero_grad()
        F.cross_entropy(model(inputs[part]), labels[part]).backward()
        optimiser.step()
model.eval()

test = striped(100)
with torch.no_grad():
    right = (model(test).argmax(1) == 0).float().mean()
print(f"striped pictures that are called striped: {right:.0%}")
assert right > 0.95

# %% [markdown]
# ## Concepts
#
# A concept has an id, a name, and examples, in batches, as the model takes them. Random concepts
# are what a concept is told apart from. (For files, `CustomIterableDataset` and
# `dataset_to_dataloader` make such batches of a folder of pictures.)

# %%
stripes = Concept(0, "stripes", striped(120).split(40))
dots = Concept(1, "dots", dotted(120).split(40))
nothing = Concept(2, "nothing", noise(120).split(40))
randoms = [Concept(10 + i, f"random {i}", noise(120).split(40)) for i in range(10)]

figure, axes = plt.subplots(3, 6, figsize=(8, 4))
for row, concept in zip(axes, (stripes, dots, nothing), strict=True):
    for axis, picture in zip(row, concept.data_iter[0], strict=False):
        axis.imshow(picture[0], cmap="gray")
        axis.set_axis_off()
    row[0].set_title(concept.name, fontsize=10)
plt.show()

# %% [markdown]
# ## Scores
#
# At a layer, a linear classifier learns to tell the examples of a set of concepts apart; a
# concept's vector is its direction. The score is the share of inputs whose answer rises along it
# (`sign_count`), and how steeply on average (`magnitude`). Layers are modules or their names. What
# is explained is how much more striped than dotted a picture is called.


# %%
def more_striped(output):
    return output[:, 0] - output[:, 1]


tcav = TCAV(model, layers=["0", "3"], classifier=DefaultClassifier(fit="logistic"))
scores = tcav.interpret(test, [[stripes, dots], [stripes, randoms[0]]], target=more_striped)
for name, by_layer in scores.items():
    for layer, found in by_layer.items():
        shares = ", ".join(f"{share:.2f}" for share in found["sign_count"].tolist())
        print(f"concepts {name}, layer {layer}: {shares}")
for layer in ("0", "3"):
    told = tcav.cavs["0-1"][layer].stats["accs"]
    print(f"layer {layer} tells stripes from dots in {float(told):.0%} of the other examples")
late = scores["0-1"]["3"]["sign_count"]
assert late[0] > 0.9
assert late[1] < 0.1

# %% [markdown]
# ## Is it more than chance?
#
# Any direction leads some way. `test` tells each concept apart from ten random ones, each random
# one from the others, and asks how likely so large a difference would be if the concept were one
# of them; corrected for all concepts and layers at once. A star marks what is other than chance.

# %%
result = tcav.test(test, [stripes, dots, nothing], randoms, target=more_striped)
result.plot(show=True)
for i, name in enumerate(result.concepts):
    for j, layer in enumerate(result.layers):
        mean, p = float(result.scores[i, j].mean()), float(result.corrected[i, j])
        print(f"{name:8} at layer {layer}: {mean:.2f}, corrected p {p:.4f}")
at = result.layers.index("3")
means = result.scores.mean(-1)[:, at]
assert means[0] > 0.8
assert means[1] < 0.3
assert bool(result.significant()[0, at])
assert not bool(result.significant()[2, at])

# %% [markdown]
# ## Another slope
#
# Instead of the gradient at the picture, any layer method may stand for the slope: integrated
# gradients ask along the way from a black picture.

# %%
method = LayerIntegratedGradients(model, model[3], multiply_by_inputs=False)
paths = TCAV(
    model, "3", layer_attr_method=method, classifier=DefaultClassifier(fit="logistic")
).interpret(test, [[stripes, dots]], target=more_striped, n_steps=10)
print("along paths:", paths["0-1"]["3"]["sign_count"].tolist())
assert paths["0-1"]["3"]["sign_count"][0] > 0.8
