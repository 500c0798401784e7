"""The atelier family: concepts, data, prompts, detector and metrics of the embedded model."""
