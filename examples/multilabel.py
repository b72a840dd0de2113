"""Several labels per row: one sigmoid output for each, and binary cross-entropy."""

from sklearn.datasets import make_multilabel_classification

import deltarule as dr

X, Y = make_multilabel_classification(1000, n_features=20, n_classes=5, n_labels=2, random_state=0)
X = (X - X[:800].mean(axis=0)) / X[:800].std(axis=0)

net = dr.Network([dr.Dense(32, "relu"), dr.Dropout(0.3), dr.Dense(5, "sigmoid")], inputs=20, seed=0)
dr.train(net, X[:800], Y[:800], loss="binary_cross_entropy", optimizer="adamw", epochs=40)
found = dr.evaluate(
    net, X[800:], Y[800:], "binary_cross_entropy", metrics=["accuracy", "f1", "roc_auc"]
)
print("test, averaged over 5 labels:", {name: round(value, 3) for name, value in found.items()})
print(f"always 'no': accuracy {(Y[800:] == 0).mean():.3f}")
