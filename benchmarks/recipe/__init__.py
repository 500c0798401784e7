"""The recipe of atelier's weights: architecture, vocabulary and training."""
