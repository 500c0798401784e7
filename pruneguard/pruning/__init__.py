"""Pruning: plans as data, surgery on the stock diffusers UNet, criteria, and the search for a MAC budget."""
