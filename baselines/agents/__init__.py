"""What the baselines that ask a language model share: the daily loop, market, memory, prompts."""
