"""The same parts as containers: secrets, one-time steps and the image for docker-compose.yml.

It never starts a container.
"""
