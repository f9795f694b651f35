"""Training on pairs and votes: DPO, IPO, SimPO, ORPO, KTO and the reward model."""
