"""Experiments: what alignment is worth, measured. One module each; `beholder align experiment NAME` runs it.

A module holds a frozen configuration (= the command's options) and `measure(config, say) -> Run`. Choices read dev
data alone; `val` is read once, by a step of its own at the end (steps.py).
"""
