"""One training run shared by several processes of this machine."""
