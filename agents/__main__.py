"""`python -m agents core|publish|record`: one process of the worker."""

from agents.worker import main

if __name__ == "__main__":
    main()
