"""Sources of signals: `source` is the protocol, `registry` has them all, and each is one file beside them."""
