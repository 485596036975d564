"""Whether an explanation is true: measurements of policies on episodes, and verdicts over many of them.

`measure` takes what `probes` measure at single steps and keeps it as records; `verdicts`, `faithful` and `comparison`
turn many steps into a word with an effect size, an interval, n and the rule that made it. No torch.
"""
