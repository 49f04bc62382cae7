"""How long a test waits for what must come: it bounds a failure, is never used up, and says nothing of how long something may take."""

PATIENCE_S = 900.0
