"""Which policy decides until another is promoted: its name alone, for those who need no policy to run."""

POLICY = "mixed"
