"""The stages that the commands are made of: each takes values, writes a bundle, and records what it measured."""
