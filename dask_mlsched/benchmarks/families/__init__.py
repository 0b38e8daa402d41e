"""Generators of DAGs, one family to a file: sizes and times follow from parameters and a seed.

Bytes are those of the arrays a real program would make; seconds are the arithmetic of a task over a
flop rate. Operands are *given*, in the slow tier from the beginning, or, on request, made by
tasks that take no time.
"""
