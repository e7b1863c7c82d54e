"""LGCE (Yuan et al., TGRS 2024)."""
