"""Episodes, records of what policies did on them, and what can be computed from both."""

__version__ = "0.1.0"
