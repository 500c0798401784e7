"""The stages behind the commands: each takes values, writes a bundle, and records its measurements."""
