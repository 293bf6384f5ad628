"""Everything about checkpoints of towers: where they lie, what they are, how they load."""
