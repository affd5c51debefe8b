# %% [markdown]
# # Question answering with BERT, part 1: which words made the answer?
#
# A BERT for question answering reads a question and a text and points at the first and the last
# word of the answer. We ask which words made it point there: at the embeddings as a whole, then at
# words, segments and positions apart, then layer by layer.
#
# The model is a small BERT trained here, in seconds, on a toy task whose solution is known:
# *who has the lamp ?* can only be answered through the word *lamp* in the question and in the text
# (see `toy_qa.py`, which also says how to explain a real checkpoint with the same code).

# %%
import matplotlib.pyplot as plt
import torch

import toy_qa
from captum.attr import (
    IntegratedGradients,
    LayerConductance,
    LayerIntegratedGradients,
    Targets,
    visualization,
)

model, tokenizer, story = toy_qa.load()
x = toy_qa.encode(tokenizer, story.question, story.text)
print(f"{story.question}\n{story.text}")

# %% [markdown]
# Beside the tokens stands a *reference*: the same length, `[PAD]` for every word. It is where the
# path of integrated gradients begins, "a question that says nothing".


# %%
def predict(inputs, token_type_ids=None, position_ids=None, attention_mask=None):
    output = model(
        inputs,
        token_type_ids=token_type_ids,
        position_ids=position_ids,
        attention_mask=attention_mask,
    )
    return output.start_logits, output.end_logits


with torch.no_grad():
    start_scores, end_scores = predict(x.ids, x.types, x.positions, x.mask)
start, end = int(start_scores.argmax()), int(end_scores.argmax())
answer = " ".join(x.tokens[start : end + 1])
print("answer:", answer)
assert toy_qa.CHECKPOINT or answer == story.answer


def squad_pos_forward_func(
    inputs, token_type_ids=None, position_ids=None, attention_mask=None, position=0
):
    """A logit: that the answer starts where it does for position 0, or ends there for 1."""
    pred = predict(inputs, token_type_ids, position_ids, attention_mask)[position]
    return pred[:, (start, end)[position]]


with torch.no_grad():
    sure = float(squad_pos_forward_func(x.ids, x.types, x.positions, x.mask))
    guess = float(squad_pos_forward_func(x.ref_ids, x.types, x.positions, x.mask))
print(f"the answer starts at {x.tokens[start]}: logit {sure:+.2f}, of the reference {guess:+.2f}")

# %% [markdown]
# The place is fixed: it is the answer's. (The largest logit, wherever that is, would be another
# place's half-way from the reference.) For the reference the model can do no better than to guess
# one owner in three, one to two, and that is a logit of $\log \frac{1}{2} = -0.7$. So what is
# explained below is a step of five to eight, from a guess to near certainty.

# %%
if not toy_qa.CHECKPOINT:
    assert sure > 2
    assert -1.4 < guess < 0

# %% [markdown]
# ## The embeddings as a whole
#
# $$\text{score}_t = \sum_d (e - e_0)_{td} \int_0^1 \frac{\partial f}{\partial e_{td}}
# \big(e_0 + \alpha (e - e_0)\big)\, d\alpha$$
#
# with $e$ what `bert.embeddings` makes of the tokens and $e_0$ of the reference. The scores sum to
# $f(e) - f(e_0)$; the *delta* says how much is missing. With `n_steps="auto"` the steps are doubled
# until that is at most a hundredth. The last of the additional arguments, an int, chooses the start
# or the end of the answer.

# %%
tol = 0.1 if toy_qa.CHECKPOINT else 0.01
lig = LayerIntegratedGradients(squad_pos_forward_func, model.bert.embeddings)

attributions_start, delta_start = lig.attribute(
    inputs=x.ids,
    baselines=x.ref_ids,
    additional_forward_args=(x.types, x.positions, x.mask, 0),
    n_steps="auto",
    tol=tol,
    return_convergence_delta=True,
)
attributions_end, delta_end = lig.attribute(
    inputs=x.ids,
    baselines=x.ref_ids,
    additional_forward_args=(x.types, x.positions, x.mask, 1),
    n_steps="auto",
    tol=tol,
    return_convergence_delta=True,
)


def summarize_attributions(attributions):
    """One score per token, as a vector of length one."""
    attributions = attributions.sum(dim=-1).squeeze(0)
    return attributions / torch.norm(attributions)


attributions_start_sum = summarize_attributions(attributions_start)
attributions_end_sum = summarize_attributions(attributions_end)
print(f"{lig.steps_taken} steps, delta: start {float(delta_start):.4f}, end {float(delta_end):.4f}")


# %%
def record(scores, raw, logits, index, delta):
    return visualization.VisualizationDataRecord(
        scores,
        torch.softmax(logits, dim=1).max(),
        x.tokens[index],
        story.answer,
        x.tokens[index],
        raw.sum(),
        x.tokens,
        delta,
    )


visualization.visualize_text(
    [
        record(attributions_start_sum, attributions_start, start_scores, start, delta_start),
        record(attributions_end_sum, attributions_end, end_scores, end, delta_end),
    ]
)

# %% [markdown]
# **What one should see.** The things stand out: what was asked for, and what it is compared with in
# the text. The name that is the answer does *not*: any other name in its place would have been
# pointed at as well. A map of what the model answers is not a map of why.

# %%
change = sure - guess
assert abs(float(delta_end)) < 2 * tol * abs(float(attributions_end.sum()))
assert abs(float(attributions_start.sum()) - change) < 2 * tol * abs(change)

asked = story.question.split()[-2]
weight = attributions_start_sum.abs() / attributions_start_sum.abs().sum()
for i in weight.topk(5).indices.tolist():
    print(f"{x.tokens[i]:>8} {weight[i]:.2f}")


def share(words):
    return float(sum(w for w, token in zip(weight, x.tokens, strict=True) if token in words))


if not toy_qa.CHECKPOINT:
    assert asked in [x.tokens[i] for i in weight.topk(3).indices]
    assert share(toy_qa.THINGS) > 2 * share([*toy_qa.FIRST, *toy_qa.LAST])

# %% [markdown]
# ## Words, segments and positions apart
#
# The embedding of a token is the sum of three: of the word, of the segment (question or text) and
# of the position. A *list* of layers moves them together along one path and scores each; now all
# three inputs of the model have references.

# %%
embeddings = model.bert.embeddings
lig2 = LayerIntegratedGradients(
    squad_pos_forward_func,
    [embeddings.word_embeddings, embeddings.token_type_embeddings, embeddings.position_embeddings],
)
attributions_sub = lig2.attribute(
    inputs=(x.ids, x.types, x.positions),
    baselines=(x.ref_ids, x.ref_types, x.ref_positions),
    additional_forward_args=(x.mask, 0),
    n_steps="auto",
    tol=tol,
)
parts = torch.stack([each.sum(-1).squeeze(0) for each in attributions_sub])

BLUE, RED, GREY = "#2b6c99", "#c0564b", "#9aa3ab"
rows, spots = ("word", "segment", "position"), range(len(x.tokens))


def heat(axis, values, names, title):
    """Scores, names x tokens, red against and blue for, on one scale."""
    high = float(values.abs().max())
    image = axis.imshow(values.numpy(), cmap="RdBu", vmin=-high, vmax=high, aspect="auto")
    axis.set_yticks(range(len(names)), names)
    axis.set_xticks(spots, x.tokens, rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
    axis.set_title(title, loc="left")
    plt.colorbar(image, ax=axis, pad=0.01, label="contribution to the logit")


_, axis = plt.subplots(figsize=(11, 2.6), layout="constrained")
heat(axis, parts, rows, f"What each embedding adds to “the answer starts at {x.tokens[start]}”")
plt.show()

# %%
with torch.no_grad():
    far = squad_pos_forward_func(x.ids, x.types, x.positions, x.mask) - squad_pos_forward_func(
        x.ref_ids, x.ref_types, x.ref_positions, x.mask
    )
totals = ", ".join(f"{n} {v:.1f}" for n, v in zip(rows, parts.sum(1).tolist(), strict=True))
print(f"{totals}; together {float(parts.sum()):.2f} for a change of {float(far):.2f}")
assert abs(float(parts.sum() - far)) < 2 * tol * abs(float(far))

# %% [markdown]
# **What one should see.** Segments and positions take a large share, and the words alone are hard
# to read: this reference puts every word in the first segment at the first place, where the model
# has never seen one. A reference is part of the question. To ask about words only, let the segments
# and positions stay as they are: their scores are then exactly zero.

# %%
kept = lig2.attribute(
    inputs=(x.ids, x.types, x.positions),
    baselines=(x.ref_ids, x.types, x.positions),
    additional_forward_args=(x.mask, 0),
    n_steps=200,
)
kept_parts = torch.stack([each.sum(-1).squeeze(0) for each in kept])
assert not kept_parts[1:].any()
assert abs(float(kept_parts.sum()) - change) < 5 * tol * abs(change)
assert toy_qa.CHECKPOINT or asked in [x.tokens[i] for i in kept_parts[0].abs().topk(3).indices]

# %% [markdown]
# ## Layer by layer
#
# Conductance is the part of $f(x) - f(x_0)$ that passes through a layer's value $y$:
# $\sum_s \frac{\partial f}{\partial y}(x_s) \odot (y(x_{s+1}) - y(x_s))$ on the way from the
# reference. Word embeddings move, as token ids cannot.


# %%
def squad_pos_forward_func2(input_emb, token_type_ids=None, attention_mask=None, position=0):
    output = model(
        inputs_embeds=input_emb, token_type_ids=token_type_ids, attention_mask=attention_mask
    )
    return output[position][:, (start, end)[position]]


with torch.no_grad():
    input_embeddings = embeddings.word_embeddings(x.ids)
    ref_input_embeddings = embeddings.word_embeddings(x.ref_ids)

layer_attributions = []
for i in range(model.config.num_hidden_layers):
    lc = LayerConductance(squad_pos_forward_func2, model.bert.encoder.layer[i])
    layer_attributions.append(
        lc.attribute(
            inputs=input_embeddings,
            baselines=ref_input_embeddings,
            additional_forward_args=(x.types, x.mask, 0),
            n_steps=100,
        )
    )
flow = torch.cat(layer_attributions).sum(-1)

_, axis = plt.subplots(figsize=(11, 2.8), layout="constrained")
names = [f"layer {i + 1}" for i in range(len(flow))]
heat(axis, flow, names, f"What passes through each layer to “starts at {x.tokens[start]}”")
plt.show()

# %% [markdown]
# **What one should see.** From top to bottom the evidence gathers: in the first layers it lies on
# the words that are compared, in the last one on the very word the model points at, and nowhere
# else: the logit of a place is read from what the last layer says there.

# %%
shares = flow.abs() / flow.abs().sum(1, keepdim=True)
print("share of the answer's first word:", [f"{s:.2f}" for s in shares[:, start].tolist()])
if not toy_qa.CHECKPOINT:
    assert float(shares[-1, start]) > 0.999
    assert float(shares[0, start]) < 0.5

# %% [markdown]
# ## Going further
#
# **Token ids, directly.** Integer inputs are followed to their embedding lookups: no layer to name,
# one score per id. **Two questions in one run**: `Targets` shares the forward passes between the
# start and the end, each a function of the raw model output.

# %%
ig = IntegratedGradients(model)
(by_start, by_end), delta = ig.attribute(
    x.ids,
    baselines=x.ref_ids,
    target=Targets(
        lambda output: output.start_logits[:, start], lambda output: output.end_logits[:, end]
    ),
    forward_kwargs={"token_type_ids": x.types, "attention_mask": x.mask},
    n_steps=200,
    return_convergence_delta=True,
)
print(f"|delta| <= {float(delta.abs().max()):.4f}")
_, axis = plt.subplots(figsize=(11, 2.2), layout="constrained")
heat(axis, torch.cat([by_start, by_end]), ("start", "end"), "What made the start, what the end")
plt.show()

assert by_start.shape == x.ids.shape
assert torch.allclose(by_start[0], kept_parts[0], atol=1e-3)

# %% [markdown]
# **Many questions in one call.** One story proves little. Sixty questions, each with its own answer
# for a target, tell what holds in general: of all that is said for or against the answer, how much
# is said by which kind of word?

# %%
if not toy_qa.CHECKPOINT:
    batch = toy_qa.rows(tokenizer, toy_qa.stories(20, seed=3))
    ids = batch["input_ids"]
    scores = ig.attribute(
        ids,
        baselines=x.ref_ids,
        target=batch["start_positions"],
        forward_kwargs={"token_type_ids": batch["token_type_ids"]},
        n_steps=50,
    )
    shares = scores.abs() / scores.abs().sum(1, keepdim=True)

    def among(words):
        return torch.isin(ids, torch.tensor([tokenizer.vocabulary.index(word) for word in words]))

    wanted = ids == ids[:, x.tokens.index("?") - 1, None]
    kinds = {
        "the thing asked for": wanted,
        "the two other things": among(toy_qa.THINGS) & ~wanted,
        "the six names": among([*toy_qa.FIRST, *toy_qa.LAST]),
        "all the rest": ~among([*toy_qa.THINGS, *toy_qa.FIRST, *toy_qa.LAST]),
    }
    means = {kind: float((shares * which).sum(1).mean()) for kind, which in kinds.items()}
    first = float(wanted.gather(1, shares.argmax(1, keepdim=True)).float().mean())
    print(f"what was asked for is the first of all words in {first:.0%} of {len(ids)} questions")

    _, axis = plt.subplots(figsize=(7, 2.2), layout="constrained")
    axis.barh([*means], [*means.values()], color=[BLUE, GREY, GREY, GREY])
    axis.invert_yaxis()
    axis.set(xlabel="mean share of all that is said")
    axis.set_title("Who makes the answer", loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    plt.show()

    assert first > 0.5
    assert means["the thing asked for"] > 3 * means["the six names"]

plt.close("all")
