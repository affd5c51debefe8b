# %% [markdown]
# # An image classifier: which pixels made this digit a three?
#
# A small convolutional network reads digits. We ask it, for one picture, where it looked, with
# methods that differ in what they call *looking*:
#
# | method | score of a pixel |
# |---|---|
# | Saliency | $\lvert \partial f / \partial x \rvert$: would a small change be noticed? |
# | Integrated gradients | what the pixel adds between a baseline and the picture |
# | NoiseTunnel | any method, averaged over noisy copies of the picture |
# | DeepLIFT | as integrated gradients, by slopes that are exact from end to end: one pass |
# | LRP | the answer, handed down layer by layer |
# | Guided backpropagation | the gradient, where it is positive and units were on |
# | Grad-CAM | where, in the last convolution, the evidence lies |
#
# A second part does the same on a photograph glued together from two, where the right answer to
# "where?" is known.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import LinearSegmentedColormap
from sklearn.datasets import load_digits, load_sample_image
from torch import nn

from captum.attr import (
    LRP,
    DeepLift,
    GradientShap,
    GuidedBackprop,
    IntegratedGradients,
    LayerAttribution,
    LayerCam,
    LayerGradCam,
    LayerGradCamPlusPlus,
    LayerHiResCam,
    LayerScoreCam,
    NoiseTunnel,
    Saliency,
    Targets,
    lrp_rules,
)
from captum.attr import visualization as viz

torch.manual_seed(0)

# %% [markdown]
# ## Digits, and a network that reads them
#
# scikit-learn's digits are enlarged from 8 x 8 to 32 x 32, tinted at random (colour says nothing
# about the digit) and scaled to -1..1: black is -1, and 0 is grey.

# %%
digits = load_digits()
grey = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
grey = F.interpolate(grey, (32, 32), mode="bilinear")
tint = 0.5 + 0.5 * torch.rand(len(grey), 3, 1, 1)
pictures, answers = 2 * grey * tint - 1, torch.tensor(digits.target)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool1 = nn.MaxPool2d(2, 2)
        self.pool2 = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool1(F.relu(self.conv1(x)))
        x = self.pool2(F.relu(self.conv2(x)))
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for _ in range(6):
    for rows in torch.randperm(1400).split(32):
        optimizer.zero_grad()
        F.cross_entropy(net(pictures[rows]), answers[rows]).backward()
        optimizer.step()
net.eval()
with torch.no_grad():
    accuracy = float((net(pictures[1400:]).argmax(1) == answers[1400:]).float().mean())
print(f"accuracy on {len(pictures) - 1400} new digits: {accuracy:.2f}")
assert accuracy > 0.85

images, labels = pictures[1400:], answers[1400:]
with torch.no_grad():
    predicted = net(images).argmax(1)
ind = int(((labels == 3) & (predicted == 3)).nonzero()[0])
input = images[ind].unsqueeze(0)
input.requires_grad = True


# %% [markdown]
# ## Seven answers for one picture


# %%
def attribute_image_features(algorithm, input, **kwargs):
    net.zero_grad()
    return algorithm.attribute(input, target=labels[ind], **kwargs)


def to_hwc(attributions):
    return np.transpose(attributions.squeeze(0).cpu().detach().numpy(), (1, 2, 0))


saliency = Saliency(net)
grads = to_hwc(saliency.attribute(input, target=labels[ind].item()))

ig = IntegratedGradients(net)
attr_ig, delta = attribute_image_features(
    ig, input, baselines=input * 0, return_convergence_delta=True
)
with torch.no_grad():
    change = (net(input) - net(input * 0))[0, labels[ind]]
print(f"f(x) - f(baseline) = {float(change):.2f}, delta {float(delta):.3f}")
assert abs(float(delta)) < 0.05 * abs(float(change))
attr_ig = to_hwc(attr_ig)

nt = NoiseTunnel(ig)
attr_ig_nt = to_hwc(
    attribute_image_features(
        nt, input, baselines=input * 0, nt_type="smoothgrad_sq", nt_samples=100, stdevs=0.2
    )
)

dl = DeepLift(net)
attr_dl, delta = attribute_image_features(
    dl, input, baselines=input * 0, return_convergence_delta=True
)
print(f"DeepLIFT: delta {float(delta):.0e}")
assert abs(float(delta)) < 1e-4 * abs(float(change))
attr_dl = to_hwc(attr_dl)

lrp = LRP(net, rules=lrp_rules.epsilon_gamma_box(low=-1, high=1))
attr_lrp = to_hwc(attribute_image_features(lrp, input))
attr_guided = to_hwc(attribute_image_features(GuidedBackprop(net), input))

gradcam = LayerGradCam(net, net.conv2)
attr_gc = attribute_image_features(gradcam, input, relu_attributions=True)
attr_gc = to_hwc(LayerAttribution.interpolate(attr_gc, input.shape[2:], "bilinear"))

# %% [markdown]
# Each picture is one call. `sign="all"` shows what speaks for the digit in green and what speaks
# against it in red.

# %%
original_image = np.transpose((images[ind].cpu().detach().numpy() / 2) + 0.5, (1, 2, 0))
_ = viz.visualize_image_attr(
    attr_ig,
    original_image,
    method="blended_heat_map",
    sign="all",
    show_colorbar=True,
    title="Overlayed Integrated Gradients",
)

# %% [markdown]
# Or several in one figure, with axes of our own:


# %%
def side_by_side(image, panels, rows=1, size=(13, 3), **options):
    """One panel per (title, attributions, sign); without attributions the picture itself."""
    figure, axes = plt.subplots(rows, len(panels) // rows, figsize=size, layout="constrained")
    for axis, (title, attr, sign) in zip(axes.flat, panels, strict=True):
        method = "original_image" if attr is None else "blended_heat_map"
        options |= {"title": title, "plt_fig_axis": (figure, axis), "use_pyplot": False}
        viz.visualize_image_attr(attr, image, method, sign, **options)
    plt.show()


side_by_side(
    original_image,
    [
        ("The picture", None, "all"),
        ("Saliency", grads, "absolute_value"),
        ("Integrated gradients", attr_ig, "all"),
        ("NoiseTunnel, squares", attr_ig_nt, "absolute_value"),
        ("DeepLIFT", attr_dl, "all"),
        ("LRP", attr_lrp, "all"),
        ("Guided backpropagation", attr_guided, "absolute_value"),
        ("Grad-CAM", attr_gc, "positive"),
    ],
    rows=2,
    size=(11, 6),
    alpha_overlay=0.7,
)

# %% [markdown]
# **What one should see.** Integrated gradients follow the strokes and the gaps that a three has and
# an eight has not, and DeepLIFT nearly the same for a fiftieth of the passes; the noise tunnel
# shows it in a smoother way. LRP needs no grey to compare with and marks what is there. Grad-CAM is
# coarse, a map of 10 x 10 cells. Do the scores matter to the network? Greying out the pixels that
# speak most for the answer must hurt far more than greying out as many others.

# %%
per_pixel = torch.tensor(attr_ig.sum(2)).flatten()


def without(places):
    kept = torch.ones(32 * 32)
    kept[places] = 0
    with torch.no_grad():
        return float(net(input * kept.view(1, 1, 32, 32))[0, labels[ind]])


whole, best = without([]), without(per_pixel.topk(80).indices)
random = float(np.mean([without(torch.randperm(1024)[:80]) for _ in range(20)]))
print(f"logit {whole:.1f}; without 80 random pixels {random:.1f}; without the best 80 {best:.1f}")
assert whole - best > 3 * abs(whole - random)

# %% [markdown]
# ## Going further
#
# **Baselines.** Against grey, the black background is news. Against black it is not, and scores
# exactly zero. A list of baselines is averaged over. **Steps** are doubled until the sum is exact.
# **Two targets** in one run share the forward passes: their difference asks "why a 3 and not an 8?"

# %%
black = torch.full_like(input, -1)
scores, delta = ig.attribute(
    input,
    baselines=[black, black * 0],
    target=3,
    n_steps="auto",
    tol=0.01,
    return_convergence_delta=True,
)
print(f"{ig.steps_taken} steps, delta {float(delta):.4f}")

three, eight = ig.attribute(input, baselines=black, target=Targets(3, 8))
assert not three[input == -1].any()

side_by_side(
    original_image,
    [
        ("Why a 3?", to_hwc(three), "all"),
        ("Why an 8?", to_hwc(eight), "all"),
        ("Why a 3, not an 8?", to_hwc(three - eight), "all"),
    ],
    size=(9, 3.3),
    alpha_overlay=0.8,
)

# %% [markdown]
# **How sure?** Sampled scores come with standard errors.

# %%
mean, error = NoiseTunnel(Saliency(net)).attribute(
    input, nt_samples=50, stdevs=0.2, target=3, return_std=True
)
print(f"mean score {float(mean.mean()):.3f}, its standard error {float(error.mean()):.3f}")
assert float(error.mean()) < 0.3 * float(mean.mean())

# %% [markdown]
# ## A photograph
#
# A second network tells small patches of two photographs apart: a temple and a flower. Then it sees
# half of each, glued together: the evidence for *flower* must lie in the right half.


# %%
def photograph(name):
    pixels = torch.tensor(load_sample_image(name)[:426]).permute(2, 0, 1)[None] / 255
    return 2 * F.avg_pool2d(pixels, 2) - 1


def patches(photo, count):
    at = [(int(torch.randint(182, ())), int(torch.randint(289, ()))) for _ in range(count)]
    return torch.cat([photo[:, :, i : i + 32, j : j + 32] for i, j in at])


temple, flower = photograph("china.jpg"), photograph("flower.jpg")
photo_net = nn.Sequential(
    *(nn.Conv2d(3, 12, 4, stride=2, padding=1), nn.ReLU()),
    *(nn.Conv2d(12, 24, 4, stride=2, padding=1), nn.ReLU()),
    *(nn.Conv2d(24, 24, 3, padding=1), nn.ReLU()),
    *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2)),
)
optimizer = torch.optim.Adam(photo_net.parameters(), lr=3e-3)
for _ in range(150):
    optimizer.zero_grad()
    batch = torch.cat([patches(temple, 32), patches(flower, 32)])
    F.cross_entropy(photo_net(batch), torch.arange(2).repeat_interleave(32)).backward()
    optimizer.step()

photo = torch.cat([temple[..., :160], flower[..., 160:]], dim=3)
photo_image = to_hwc(photo) / 2 + 0.5
pred_label_idx = torch.tensor(1)  # flower

default_cmap = LinearSegmentedColormap.from_list(
    "custom blue", [(0, "#ffffff"), (0.25, "#000000"), (1, "#000000")], N=256
)
ig = IntegratedGradients(photo_net)
attributions_ig = ig.attribute(photo, target=pred_label_idx, n_steps=200)
_ = viz.visualize_image_attr_multiple(
    to_hwc(attributions_ig),
    photo_image,
    ["original_image", "heat_map"],
    ["all", "positive"],
    cmap=default_cmap,
    show_colorbar=True,
    outlier_perc=1,
)

# %%
noise_tunnel = NoiseTunnel(ig)
attributions_ig_nt = noise_tunnel.attribute(
    photo, nt_samples=10, nt_type="smoothgrad_sq", target=pred_label_idx
)
gradient_shap = GradientShap(photo_net)
rand_img_dist = torch.cat([photo * 0, photo * 1])
attributions_gs = gradient_shap.attribute(
    photo, n_samples=50, stdevs=0.0001, baselines=rand_img_dist, target=pred_label_idx
)
side_by_side(
    photo_image,
    [
        ("Integrated gradients", to_hwc(attributions_ig), "all"),
        ("NoiseTunnel, squares", to_hwc(attributions_ig_nt), "absolute_value"),
        ("Gradient SHAP", to_hwc(attributions_gs), "all"),
    ],
    alpha_overlay=0.8,
)

# %% [markdown]
# **What one should see.** What speaks for *flower* lies right, what speaks against it left.

# %%
for scores in (attributions_ig, attributions_gs):
    left, right = float(scores[..., :160].sum()), float(scores[..., 160:].sum())
    print(f"left {left:.1f}, right {right:.1f}")
    assert left < 0 < right

# %% [markdown]
# ## The CAM family side by side
#
# Each map is a weighted sum of the last convolution's channels; the members differ in the weight:
# the mean gradient (Grad-CAM), the gradient itself (HiResCAM), positive gradients (Grad-CAM++,
# LayerCAM), or what each channel does when it is used as a mask (ScoreCAM, no gradients at all).

# %%
members = {
    "Grad-CAM": LayerGradCam,
    "HiResCAM": LayerHiResCam,
    "Grad-CAM++": LayerGradCamPlusPlus,
    "LayerCAM": LayerCam,
    "ScoreCAM": LayerScoreCam,
}
panels, found = [("Half a temple, half a flower", None, "all")], []
for name, member in members.items():
    cam = member(photo_net, photo_net[4]).attribute(photo, target=1, relu_attributions=True)
    cam = LayerAttribution.interpolate(cam, photo.shape[2:], "bilinear")
    right = float(cam[..., 160:].sum() / cam.sum())
    panels.append((f"{name}: {right:.0%} on the right", to_hwc(cam), "positive"))
    found.append(right)
side_by_side(photo_image, panels, rows=2, size=(12, 5.6), alpha_overlay=0.75)
assert min(found) > 0.65
assert float(np.mean(found)) > 0.8
plt.close("all")
