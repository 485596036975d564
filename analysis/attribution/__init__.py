"""Which of what a policy read made it say what it said: attribution methods behind one protocol (`method`, `registry`).

Importing this package, its values and its registry takes no torch; a method's own module may.
"""
