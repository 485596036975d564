"""Teachers: who explains demonstrations in words that a policy can learn. Importing this imports no client."""
