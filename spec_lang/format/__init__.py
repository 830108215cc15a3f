"""The one format of specs: tokens and comments to rows of text."""
