"""`python -m deploy.night`: the shipped stack through a bad night, and what its operator saw of it."""
