"""What an experiment file declares: the experiment, its criteria, and the decision that they give."""
