"""How well a policy acts and explains: on recorded episodes, and in a simulated world."""
