"""One run in several processes, each with a GPU of its own, that ``torchrun`` starts (docs/several_gpus.md).

Every process holds the whole state of the run and takes every step of it. What they share out is the passes through
networks: each computes its part of the rows and gets those of the others (``passes``). ``processes`` is who they are.
"""
