"""From media to valence and arousal, through the very code of stage one and of evaluation."""
