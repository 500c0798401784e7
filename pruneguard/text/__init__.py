"""Rules for texts: mentions of minors, and the disguises that hide words. Imports no heavy library."""
