"""Rules as SMT-LIB scripts for any solver."""
