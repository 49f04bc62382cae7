"""Raw words of the counter-based generator Philox 4x64-10, compiled: those that numpy's own gives for the same key.

Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". It knows nothing but its key and holds nothing between two calls.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tables.compiled import compiled
from tables.lanes import upper

Words = npt.NDArray[np.uint64]


_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ROUNDS = 10


@compiled("void(u8, u8, u8[::1])")
def fill(low: int, high: int, raw: Words) -> None:
    """Write the first words under the key of these two halves; raw: (n,)."""
    n = raw.shape[0]
    for at in range(0, n, 4):
        # The counter is 1 for the first four.
        c0, c1, c2, c3 = np.uint64((at >> 2) + 1), np.uint64(0), np.uint64(0), np.uint64(0)
        k0, k1 = np.uint64(low), np.uint64(high)
        for _ in range(_ROUNDS):
            u0, l0, u1, l1 = upper(_M0, c0), _M0 * c0, upper(_M1, c2), _M1 * c2
            c0, c1, c2, c3 = u1 ^ c1 ^ k0, l1, u0 ^ c3 ^ k1, l0
            k0, k1 = k0 + _W0, k1 + _W1
        raw[at] = c0
        if at + 3 < n:
            raw[at + 1], raw[at + 2], raw[at + 3] = c1, c2, c3
        else:
            if at + 1 < n:
                raw[at + 1] = c1
            if at + 2 < n:
                raw[at + 2] = c2
