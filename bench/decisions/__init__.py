"""The policies beside the best of the field: on public sets, on logs and in simulations."""
