"""The commands of ``python -m analysis``, one file each; torch is imported only where a model runs."""
