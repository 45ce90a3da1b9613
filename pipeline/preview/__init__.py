"""Contact sheets, on which a user can check what was found."""
