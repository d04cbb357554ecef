"""Training: recipe, loss, data and the run itself. Needs the extra `train`."""
