"""Tests, in the shape of the tree that they test."""

from beartype import BeartypeConf, beartype

# pytest checks annotations with this (addopts in pyproject.toml); an int may stand where a float is asked for
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
