"""Alembic's steps from one layout of the review tables to the next."""
