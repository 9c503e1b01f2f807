"""What a training step costs and where its time goes: ``python -m sanm.bench`` (docs/performance.md).

The step is the trainer's own, never a copy of it: ``parts`` times pieces of it in place, ``floor`` repeats the network
passes it made and nothing else, ``arrangements`` takes the same step with one feature off. What batched code has
replaced is in ``references``, used here alone.
"""
