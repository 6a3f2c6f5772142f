"""Where the classes stand that `functions` makes for the functions of a user's own: one for each, by its digest."""
