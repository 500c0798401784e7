"""Families of models: each file or folder here registers one. Nothing outside asks which family a model has."""

from __future__ import annotations

from pruneguard.families.family import DEFAULT, FAMILIES, Family, family_of, find_family

__all__ = ["DEFAULT", "FAMILIES", "Family", "family_of", "find_family"]
