"""What if: an observation, an instruction, a rationale or the attention is changed, and what that does to the answer.

An intervention changes the `question` put to a policy; `intervene` asks with and without it and measures the `effect`.
No torch.
"""
