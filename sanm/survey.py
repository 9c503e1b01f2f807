"""What the networks of a run say of its training samples: the data set's counterpart of a step's ``Look``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from sanm.network import Network

Scan = Callable[[str, Network, Callable[[Tensor], Tensor]], Tensor]
"""``scan(pool, network, answer)``: what ``answer`` makes, in eval mode and without gradient, of the images of the
samples, normalised and augmented by the pool, in their order.
"""


class Survey:
    """Gradient-free answers of networks to the samples of an epoch, made when first asked for and kept.

    ``given [n]`` are their labels, ``index [n]`` their positions in the training set. The images are as they are,
    unless another pool is asked for with ``on``.
    """

    def __init__(self, networks: Sequence[Network], given: Tensor, index: Tensor, scan: Scan, pool: str = "none"):
        self.networks, self.given, self.index = networks, given, index
        self._scan, self._pool = scan, pool
        self._logits: dict[int, Tensor] = {}
        self._features: dict[tuple[int, str | None], Tensor] = {}

    def on(self, pool: str) -> Survey:
        """The same on images of an augmentation pool, one draw each."""
        return Survey(self.networks, self.given, self.index, self._scan, pool)

    def of(self, networks: Sequence[Network]) -> Survey:
        """The same samples as other networks see them."""
        return Survey(networks, self.given, self.index, self._scan, self._pool)

    def logits(self, k: int) -> Tensor:
        """Logits ``[n, K]`` of the classifier of network k."""
        if k not in self._logits:
            network = self.networks[k]
            self._logits[k] = self._scan(self._pool, network, lambda x: network(x, alone=True).float())
        return self._logits[k]

    def probs(self, k: int) -> Tensor:
        """Class probabilities ``[n, K]`` of network k."""
        return self.logits(k).softmax(-1)

    def losses(self, k: int) -> Tensor:
        """Cross-entropy ``[n]`` of network k on the given labels."""
        return cross_entropy(self.logits(k), self.given, reduction="none")

    def features(self, k: int, head: str | None = None) -> Tensor:
        """Pooled features ``[n, D]`` of network k, or what its head of that name makes of them."""
        if (k, head) not in self._features:
            network = self.networks[k]

            def answer(x: Tensor) -> Tensor:
                pooled = network.features(x).mean((2, 3))
                return (pooled if head is None else network.heads[head](pooled)).float()

            self._features[k, head] = self._scan(self._pool, network, answer)
        return self._features[k, head]

    def knows(self, k: int, logits: Tensor) -> None:
        """Take the logits ``[n, K]`` of network k from a scan that was made anyway."""
        self._logits[k] = logits
