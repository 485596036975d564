"""Numbers that judge; pure, each checked against a hand-worked example."""
