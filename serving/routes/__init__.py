"""What the edge answers, a module per address. Never anything that holds state: that is `serving.edge`'s."""
