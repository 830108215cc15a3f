"""The penalty reading: how much rules are broken at points, as differentiable torch terms."""
