"""Files of valence and arousal for the ABAW challenge: written, and checked before they are handed in."""
