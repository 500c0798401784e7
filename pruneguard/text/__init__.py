"""Rules for prompts: mentions of minors, and the disguises that hide words. Imports no heavy library."""
