"""Proof that no rule is missing: a walk over the graph that a forward pass has left.

Between the explained number and the sources, every node must be linear in what is live, or be the
work of a rule. Whatever else is there ran without a rule, or where no rule could see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from captum._engine.rules.operation import words
from captum._engine.rules.primitives import OURS

RULED, UNRULED = "captum.ruled", "captum.unruled"  # marks on nodes: a rule's work; seen, no rule

# fmt: off
# Nodes that are linear in all that they depend on.
_LINEAR = words("""
    Add Sub Rsub Neg Alias View UnsafeView ReshapeAlias Transpose T Permute Expand Squeeze
    Unsqueeze Select Slice SliceScatter SelectScatter Split SplitWithSizes UnsafeSplit Chunk Unbind
    Cat Stack Repeat RepeatInterleave AsStrided AsStridedScatter Clone Copy CopyBackwards
    CopySlices ToCopy Diagonal DiagonalScatter DiagEmbed Trace Tril Triu Roll Flip Rot90 Unfold
    Im2Col Col2Im Sum Mean Cumsum ConstantPadNd ReflectionPad1D ReflectionPad2D ReflectionPad3D
    ReplicationPad1D ReplicationPad2D ReplicationPad3D AvgPool1D AvgPool2D AvgPool3D
    AdaptiveAvgPool2D AdaptiveAvgPool3D MkldnnAdaptiveAvgPool2D UpsampleNearest1D UpsampleNearest2D
    UpsampleNearest3D UpsampleNearestExact1D UpsampleNearestExact2D UpsampleNearestExact3D
    UpsampleLinear1D UpsampleBilinear2D UpsampleTrilinear3D UpsampleBicubic2D PixelShuffle
    PixelUnshuffle Gather IndexSelect Index Take TakeAlongDim MaskedFill MaskedSelect MaskedScatter
    Scatter ScatterAdd IndexAdd IndexPut IndexPutImpl UnsafeIndexPut IndexCopy IndexFill Where Fill
    FftR2C FftC2R FftC2C Real Imag ViewAsReal ViewAsComplex Complex Zero Swapaxes Narrow Movedim
    Detach ChannelShuffle NativeChannelShuffle UpsampleBilinear2DAa UpsampleBicubic2DAa
    Conj ConjPhysical ResolveConj PackPaddedSequence NllLoss NllLoss2D NllLossNd
""")
# Nodes that are linear in each operand: fine where one of them is live.
_MULTILINEAR = words("""
    Mul Mm Bmm Addmm Addbmm Baddbmm Addmv Addr Mv Dot Linear MkldnnLinear Convolution
    ConvolutionOverrideable MkldnnConvolution ThnnConv2D SlowConv2D SlowConvTranspose2D
    ConvDepthwise2D Addcmul Kron LinalgCross Bilinear Trilinear Lerp
""")
# Nodes that are linear in their first operand only.
_NORMS = frozenset(["NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm"])
_FIRST_ONLY = _NORMS | {"Div", "GridSampler2D", "GridSampler3D"}
# Functions that make such nodes, by name: what they made is not looked at again.
LINEAR_NAMES = words("""
    add sub neg sum mean cat stack view reshape flatten unflatten transpose t permute expand
    expand_as squeeze unsqueeze select narrow split chunk unbind repeat contiguous clone to float
    double type_as __getitem__ __setitem__ copy roll flip pad avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate upsample gather
    index_select masked_select detach split_with_sizes tensor_split swapaxes swapdims movedim
    conj real imag view_as_real view_as_complex view_as reshape_as half bfloat16 repeat_interleave
    tril triu cumsum type __get__
""")
# fmt: on


@dataclass(frozen=True)
class Findings:
    """What a walk found on the way from the numbers to the sources."""

    connected: bool  # whether there is a way at all
    unruled: frozenset[str]  # operations that were seen, without a rule
    unseen: tuple[str, ...]  # nodes made where no rule could see them


def kind_of(node: Any) -> str:
    """`Relu` of ReluBackward0."""
    name: str = node.name()
    return name.rsplit("::", 1)[-1].rsplit("Backward", 1)[0]


def audit(
    numbers: Sequence[Tensor], sources: Iterable[Tensor], accepted: frozenset[str] = frozenset()
) -> Findings:
    """Walk from the numbers to the sources, and judge every node on the way.

    `accepted` nodes need no rule, although they are not linear.
    """
    roots = {get_gradient_edge(source).node for source in sources}
    live: dict[Any, bool] = {}
    order: list[tuple[Any, tuple[Any, ...]]] = []
    stack: list[tuple[Any, tuple[Any, ...] | None]] = [
        (n.grad_fn, None) for n in numbers if n.grad_fn is not None
    ]
    while stack:  # depth first, children before parents
        node, children = stack.pop()
        if children is not None:
            live[node] = any(live[child] for child in children if child is not None)
            if live[node]:
                order.append((node, children))
        elif node not in live:
            live[node] = node in roots
            if not live[node]:
                children = tuple(child for child, _ in node.next_functions)
                stack.append((node, children))
                stack += [(c, None) for c in children if c is not None and c not in live]
    connected = any(live.get(root, False) for root in roots)
    unruled: set[str] = set()
    unseen: dict[str, None] = {}
    for node, children in order:
        if not _fine(node, [c is not None and live[c] for c in children], accepted):
            seen = node.metadata.get(UNRULED)
            if seen is not None:
                unruled.add(seen)
            else:
                unseen[_described(node)] = None
    return Findings(connected, frozenset(unruled), tuple(unseen))


def _fine(node: Any, live: list[bool], accepted: frozenset[str]) -> bool:
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        # By class: a user's function may be called like one of ours, or like a linear node.
        return node._forward_cls in OURS or RULED in node.metadata  # type: ignore[attr-defined]
    kind = kind_of(node)
    if kind in _LINEAR or kind in accepted or (kind in _MULTILINEAR and sum(live) <= 1):
        return True
    if RULED in node.metadata:
        return True
    first = kind in _FIRST_ONLY and live[0] and not any(live[1:])
    return first and (kind not in _NORMS or not getattr(node, "_saved_training", True))


def _described(node: Any) -> str:
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        cls = node._forward_cls  # type: ignore[attr-defined]
        return "checkpoint" if cls.__name__ == "CheckpointFunction" else f"function {cls.__name__}"
    kind = kind_of(node)
    return "scripted" if "DifferentiableGraph" in node.name() else kind


# Functions that are not the user's own: what made them, and what to do about it.
_REMEDIES = {
    "BackwardHookFunction": (
        "a full backward hook on a module",
        "the model without register_full_backward_hook: handle.remove()",
    ),
    "RegisterPostBackwardFunction": (
        "a model that fully_shard has wrapped, whose way back is its own",
        "the plain model; or gradients and perturbations, which work on a sharded one",
    ),
    "CompiledFunction": ("a function that torch.compile has compiled", "the function uncompiled"),
}


def remedy(unseen: Sequence[str]) -> tuple[str, str]:
    """What ran out of sight, in words, and what to do about it."""
    if "scripted" in unseen:
        return "a TorchScript function or module", "the original Python code, not scripted"
    if "checkpoint" in unseen:
        return (
            "reentrant activation checkpointing",
            "use_reentrant=False, or checkpointing switched off",
        )
    functions = [name.removeprefix("function ") for name in unseen if name.startswith("function ")]
    for start, remedy_of in _REMEDIES.items():
        if any(name.startswith(start) for name in functions):
            return remedy_of
    if functions:
        return (
            f"the custom autograd.Function {', '.join(functions)}",
            "a rule for the module that applies it, DeepLift(model, rules={Module: elementwise}) "
            "or module.rule = IdentityRule() for LRP; or for a name that visible(apply, 'name') "
            "gives it",
        )
    return (
        f"{', '.join(unseen)} in a TorchScript function, another thread or a C++ operator",
        "the plain Python function, in the thread that runs the model",
    )
