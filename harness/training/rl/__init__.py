"""Training by rewards: PPO, GRPO and RLOO, with rollouts, graders and the value head."""
