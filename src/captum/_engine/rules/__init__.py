"""Backward rules: a forward pass as the model wrote it, with another way back.

A `RuleMode` sees every torch function of a pass and gives some of them another history; values
stay what they are. Plain autograd then carries multipliers or relevance instead of gradients.
"""
