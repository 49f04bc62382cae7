"""Features of people in Feast: a repository made of the same definitions, and the store that speaks to it. Feast itself is in an environment of its own."""
