"""Estimators with the API of scikit-learn."""
