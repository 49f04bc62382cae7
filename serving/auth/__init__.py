"""People sign in: OpenID providers, sessions, and tokens of our own. Imported only where somebody configured providers."""
