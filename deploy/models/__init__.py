"""Models of a stack: the training set read from its journal, the run that makes a model, the registry that keeps it, and whom it has to forget."""
