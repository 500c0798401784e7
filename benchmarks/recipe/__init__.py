"""How the weights of atelier were made."""
