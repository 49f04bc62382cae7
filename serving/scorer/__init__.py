"""The scorer: a stateless process that says what trained models expect of feature vectors, in the Open Inference Protocol v2."""
