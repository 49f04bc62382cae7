"""How models are made: from what was decided and what came of it, to a file that serves and the numbers that judge it."""
