"""Gradients of each example's loss by the parameters, from one pass of the batch."""
