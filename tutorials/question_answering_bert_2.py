# %% [markdown]
# # Question answering with BERT, part 2: layers, heads and attention
#
# Part 1 asked which words made the answer. Here we go inside: how much of the answer passes through
# each attention layer, token by token, and how does that compare with the matrices that attention
# itself shows? The model and its toy task are those of part 1, in `toy_qa.py`.

# %%
import matplotlib.pyplot as plt
import torch

import toy_qa
from captum.attr import (
    LayerActivation,
    LayerConductance,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)

BLUE, RED, GREY = "#2b6c99", "#c0564b", "#9aa3ab"
model, tokenizer, story = toy_qa.load()
x = toy_qa.encode(tokenizer, story.question, story.text)
layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads


def predict(inputs, token_type_ids=None, position_ids=None, attention_mask=None):
    """BERT reads a shape (N, T) off its ids, so embeddings (N, T, D) have a name of their own."""
    return model(
        **{"inputs_embeds" if inputs.is_floating_point() else "input_ids": inputs},
        token_type_ids=token_type_ids,
        position_ids=position_ids,
        attention_mask=attention_mask,
        output_attentions=True,
    )


with torch.no_grad():
    output = predict(x.ids, x.types, x.positions, x.mask)
start, end = int(output.start_logits.argmax()), int(output.end_logits.argmax())


def squad_pos_forward_func(
    inputs, token_type_ids=None, position_ids=None, attention_mask=None, position=0
):
    """A logit: that the answer starts where it does for position 0, or ends there for 1."""
    pred = predict(inputs, token_type_ids, position_ids, attention_mask)
    return (pred.start_logits[:, start], pred.end_logits[:, end])[position]


print(f"{story.question}\n{story.text}\nanswer: {' '.join(x.tokens[start : end + 1])}")

# %% [markdown]
# ## Embeddings in, instead of ids
#
# Conductance moves the *inputs* from the reference to the question, and ids cannot move. So the
# word embedding is replaced by a layer that hands on embeddings as they are, and makes them from
# ids when asked to.

# %%
original = model.bert.embeddings.word_embeddings
interpretable_embedding = configure_interpretable_embedding_layer(
    model, "bert.embeddings.word_embeddings"
)
input_embeddings = interpretable_embedding.indices_to_embeddings(x.ids).detach()
ref_input_embeddings = interpretable_embedding.indices_to_embeddings(x.ref_ids).detach()

with torch.no_grad():
    again = predict(input_embeddings, x.types, x.positions, x.mask)
assert torch.equal(again.start_logits, output.start_logits)

# %% [markdown]
# ## What passes through each attention layer
#
# $$\text{conductance}_y = \sum_s \frac{\partial f}{\partial y}(x_s) \odot
# \big(y(x_{s+1}) - y(x_s)\big)$$
#
# with $y$ what `attention.self` returns. That is a tuple: the mixed values (N, T, D) and the
# attention probabilities (N, heads, T, T). Both get scores, in the same tuple. The probabilities
# are a by-product here: nothing later in the model reads them, so theirs are zeros.


# %%
def summarize_attributions(attributions):
    """One score per token, as a vector of length one."""
    attributions = attributions.sum(dim=-1).squeeze(0)
    return attributions / torch.norm(attributions)


def conductance(position):
    """Every layer's scores for the start (0) or the end (1): (layers, T, D)."""
    rows = []
    for i in range(layers):
        lc = LayerConductance(squad_pos_forward_func, model.bert.encoder.layer[i].attention.self)
        layer_attributions = lc.attribute(
            input_embeddings,
            baselines=ref_input_embeddings,
            additional_forward_args=(x.types, x.positions, x.mask, position),
            n_steps=100,
        )
        hidden, attentions = layer_attributions
        assert hidden.shape == input_embeddings.shape
        assert attentions.shape == (1, heads, *2 * x.ids.shape[1:])
        rows.append(hidden)
    return torch.cat(rows)


by_start, by_end = conductance(0), conductance(1)
through_start, through_end = (
    torch.stack([summarize_attributions(hidden[None]) for hidden in each])
    for each in (by_start, by_end)
)


# %%
def heat(axis, values, title, names=None, cmap="RdBu"):
    """Layers x tokens, or tokens x tokens; diverging maps are symmetric about zero."""
    high = float(values.abs().max())
    low = -high if cmap == "RdBu" else 0.0
    image = axis.imshow(values.numpy(), cmap=cmap, vmin=low, vmax=high, aspect="auto")
    names = names or [f"layer {i + 1}" for i in range(len(values))]
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xticks(
        range(len(x.tokens)), x.tokens, rotation=60, ha="right", rotation_mode="anchor", fontsize=8
    )
    axis.set_title(title, loc="left", fontsize=11)
    return image


figure, axes = plt.subplots(2, 1, figsize=(11, 5), layout="constrained", sharex=True)
for axis, values, spot, name in zip(
    axes, (through_start, through_end), (start, end), ("starts", "ends"), strict=True
):
    image = heat(axis, values, f"What passes to “the answer {name} at {x.tokens[spot]}”")
    axis.axvline(spot - 0.5, color=GREY, lw=0.8)
    axis.axvline(spot + 0.5, color=GREY, lw=0.8)
    figure.colorbar(image, ax=axis, pad=0.01)
plt.show()

# %% [markdown]
# **What one should see.** In the last layer all that counts sits at one token, framed in grey: the
# first word of the answer above, the last below. The logit of a place is read from the last layer's
# value at that place, so whatever mattered elsewhere must have been carried there by then.

# %%
sharp = through_start[-1].square()[start], through_end[-1].square()[end]
print(f"share of the answer's own token in the last layer: {sharp[0]:.2f}, {sharp[1]:.2f}")
assert min(sharp) > 0.999

# %% [markdown]
# ## What the values hold
#
# `LayerActivation` reads a list of layers in one forward pass: here the value projection of each
# layer, before attention mixes it. Their norms say how much a token has to give.

# %%
values = [layer.attention.self.value for layer in model.bert.encoder.layer]
la = LayerActivation(squad_pos_forward_func, values)
activations = la.attribute(input_embeddings, additional_forward_args=(x.types, x.positions, x.mask))
norms = torch.stack(activations).squeeze(1).norm(dim=-1)
assert norms.shape == (layers, len(x.tokens))

_, axis = plt.subplots(figsize=(11, 2.8), layout="constrained")
image = heat(axis, norms, "How much each token has to give: the norm of its value", cmap="Blues")
plt.colorbar(image, ax=axis, pad=0.01)
plt.show()

# %% [markdown]
# ## What attention shows
#
# The probabilities of the first layer, one matrix per head: row = the token that looks, column =
# the token that is looked at.

# %%
attention = torch.stack(output.attentions).squeeze(1)  # (layers, heads, T, T)
assert attention.shape == (layers, heads, len(x.tokens), len(x.tokens))
assert torch.allclose(attention.sum(-1), torch.ones(()), atol=1e-5)

figure, axes = plt.subplots(2, 2, figsize=(11, 11), layout="constrained", sharex=True, sharey=True)
for head, axis in enumerate(axes.flat):
    image = heat(axis, attention[0, head], f"Head {head + 1}", x.tokens, cmap="Blues")
    image.set_clim(0, 1)
figure.colorbar(image, ax=axes, shrink=0.4, pad=0.01, label="probability")
figure.suptitle("Attention of the first layer")
plt.show()

# %% [markdown]
# **What one should see.** Beside the diagonal, a dark spot where a word stands twice: in one head
# at least the word asked for in the question looks at itself in the text, or from there back. That
# is the comparison that answers the question. One story proves little; the mean over sixty
# questions says how much the same thing is looked at, and how much another.

# %%
if not toy_qa.CHECKPOINT:
    batch = toy_qa.rows(tokenizer, toy_qa.stories(20, seed=3))
    ids = batch["input_ids"]
    with torch.no_grad():
        embedded = interpretable_embedding.indices_to_embeddings(ids)
        first = predict(embedded, batch["token_type_ids"]).attentions[0]
    # All stories are built alike: the thing asked for has its place, the three told have theirs.
    asked, *told = (i for i, token in enumerate(x.tokens) if token in toy_qa.THINGS)
    same = (ids[:, told] == ids[:, [asked]])[:, None]
    # Both ways, from the text to the question and back: (N, ways x heads, three things).
    looks = torch.cat([first[:, :, told, asked], first[:, :, asked, told]], 1)
    at_same = (looks * same).sum(2).mean(0)
    at_other = (looks * ~same).sum(2).mean(0) / 2
    best = int(at_same.argmax())
    way = ("text to question", "question to text")[best // heads]
    print(f"head {best % heads + 1} looks from {way}, at the same thing with {at_same[best]:.2f}")
    print(f"and at each of the others with {at_other[best]:.2f}")
    assert at_same[best] > 2 * at_other[best]

# %% [markdown]
# ## Going further: which head matters?
#
# A probability says where a head looks, not whether that matters. The value of `attention.self` is
# the heads' outputs side by side, so its conductance splits by head.

# %%
by_head = by_start.unflatten(-1, (heads, -1)).sum((1, 3))
assert torch.allclose(by_head.sum(1), by_start.sum((1, 2)), atol=1e-4)

_, axis = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
high = float(by_head.abs().max())
image = axis.imshow(by_head.numpy(), cmap="RdBu", vmin=-high, vmax=high, aspect="auto")
for i, j in torch.cartesian_prod(*map(torch.arange, by_head.shape)).tolist():
    value = float(by_head[i, j])
    light = abs(value) > 0.6 * high
    axis.text(j, i, f"{value:.1f}", ha="center", va="center", color="white" if light else "black")
axis.set_xticks(range(heads), [f"head {j + 1}" for j in range(heads)])
axis.set_yticks(range(layers), [f"layer {i + 1}" for i in range(layers)])
axis.set_title("What passes through each head to the start", loc="left", fontsize=11)
plt.colorbar(image, ax=axis, label="conductance")
plt.show()

# %% [markdown]
# ## Putting the model back
#
# The embedding layer that comes back is the very same object, and the model takes ids again.

# %%
remove_interpretable_embedding_layer(model, interpretable_embedding)
assert model.bert.embeddings.word_embeddings is original
with torch.no_grad():
    after = predict(x.ids, x.types, x.positions, x.mask)
assert torch.equal(after.start_logits, output.start_logits)
plt.close("all")
