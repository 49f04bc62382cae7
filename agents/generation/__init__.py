"""Words of a language model: what it is asked, and what of its answer may be a tip. It never calls a model."""
