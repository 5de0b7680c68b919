"""The power-loss campaign: the journal itself on a card that forgets, tears, fills and fails."""
