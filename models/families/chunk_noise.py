"""The noise that denoising starts from: always the same, so that an observation has one answer. No torch."""

NOISE_SEED = 0
NOISE_NOTE = f"denoising starts from the standard normal noise that torch.manual_seed({NOISE_SEED}) gives on the CPU"
