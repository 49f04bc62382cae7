"""Measures what the product is built for, beside others of the field. Nothing of the product imports it."""
