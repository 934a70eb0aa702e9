"""What a user's own data hold, before any long work: findings, figures, and a picture."""
