"""Folds that find what is wrong."""
