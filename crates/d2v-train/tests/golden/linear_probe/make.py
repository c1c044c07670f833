"""Writes case.json: a small classification problem and its minimum according to scikit-learn.

Made with scikit-learn 1.9.1, numpy 2.4.6:  python make.py
Sizes: 60 samples of 5 correlated features and 3 overlapping classes, so that the minimum is well inside and depends
on every term; one column is constant, which standardising has to survive.
"""

import json
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

L2 = 1e-3
rng = np.random.default_rng(7)
mix = rng.normal(size=(4, 4))
labels = np.arange(60) % 3
centres = rng.normal(size=(3, 4))


def draw(labels):
    features = (centres[labels] + rng.normal(size=(len(labels), 4))) @ mix * [1.0, 10.0, 0.1, 3.0] + 5.0
    return np.concatenate([features, np.full((len(labels), 1), 2.5)], axis=1).astype(np.float32)


features, test_features = draw(labels), draw(np.arange(30) % 3)
scaler = StandardScaler().fit(features.astype(np.float64))
standardised = scaler.transform(features.astype(np.float64))
model = LogisticRegression(C=1 / (L2 * len(labels)), tol=1e-14, max_iter=10_000, solver="newton-cg")
model.fit(standardised, labels)
log_probabilities = model.predict_log_proba(standardised)
objective = -log_probabilities[np.arange(len(labels)), labels].mean() + L2 / 2 * (model.coef_**2).sum()

case = {
    "l2": L2,
    "features": features.tolist(),
    "labels": labels.tolist(),
    "objective": objective,
    "weights_cd": model.coef_.tolist(),
    "intercepts": model.intercept_.tolist(),
    "test_features": test_features.tolist(),
    "test_predictions": model.predict(scaler.transform(test_features.astype(np.float64))).tolist(),
}
path = pathlib.Path(__file__).with_name("case.json")
path.write_text(json.dumps(case) + "\n")
print(objective, model.n_iter_, model.coef_)
