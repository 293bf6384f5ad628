"""Literal transcriptions of the paper's equations, to check the package against.

Nothing in this folder imports the package: only torch, numpy and math. Every function takes plain
tensors (float64) and a plain ``dict`` of named weights. Speed does not matter here; what matters is
that each line can be held against the paper.
"""
