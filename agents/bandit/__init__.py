"""What the policies share: what a version believes, what a slate is expected to bring, the draw, and the fit."""
