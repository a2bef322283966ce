"""Training: stage 0 teaches ``tiny`` to read charts, stages 1 and 2 are the paper's SFT and RL."""
