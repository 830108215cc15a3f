"""Two versions of a spec, compared: what became weaker or stronger, each with a situation that shows it."""
