"""Points of an obligation: drawn in its boxes, moved into its premise, judged exactly."""
