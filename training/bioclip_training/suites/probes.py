"""Classifiers that the published evaluations fit on features: a linear network for attributes, and a tuned SVM for binary tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.process.quiet import importing, quiet
from bioclip_core.progress import silent
from bioclip_training.evaluation.features import StageProgress

HIDDEN = 512
DROPOUT = 0.5
EPOCHS = 50
BATCH = 256
FOLDS = 5
"""Parts of the cross-validation within an SVM's search."""


@dataclass(frozen=True, slots=True)
class AttributeLogits:
    """Logits of N test images for A attributes by one fitted network."""

    with_dropout_NA: NDArray[np.float32]
    """As the published code computes them: it never leaves the mode of training, so that half of the network is dropped at random."""
    logits_NA: NDArray[np.float32]


def attribute_logits(
    train_ND: NDArray[np.float32],
    target_NA: NDArray[np.int8],
    test_ND: NDArray[np.float32],
    *,
    learning_rate: float,
    seed: int,
    progress: StageProgress = silent,
) -> AttributeLogits:
    """Fit the published network on training images and return its logits for test images.

    Two linear layers with dropout between them and no non-linearity, Adam, 50 epochs of batches of 256, a learning rate that is halved
    every 20 epochs, and binary cross-entropy. Random numbers of the host program stay as they were.

    Args:
        train_ND: features before their normalisation.
        target_NA: 1 for an attribute that the training image has.
        test_ND: features of the test images.
        learning_rate: of Adam; 1e-4 for FishNet and 1e-5 for AwA2.
        seed: of weights, order of images and dropout.
        progress: called with the stage, epochs done and epochs in all.
    """
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(train_ND.shape[1], HIDDEN), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, target_NA.shape[1])
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=20, gamma=0.5)
        loss_of = nn.BCEWithLogitsLoss()
        features_ND, targets_NA = torch.from_numpy(train_ND), torch.from_numpy(target_NA.astype(np.float32))
        for epoch in range(EPOCHS):
            progress("Fitting", epoch, EPOCHS)
            for rows_B in torch.split(torch.randperm(len(features_ND)), BATCH):
                loss = loss_of(network(features_ND[rows_B]), targets_NA[rows_B])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
        progress("Fitting", EPOCHS, EPOCHS)
        with torch.no_grad():
            dropped_NA = network(torch.from_numpy(test_ND)).numpy()
            whole_NA = network.eval()(torch.from_numpy(test_ND)).numpy()
    return AttributeLogits(dropped_NA, whole_NA)


def svm_answers(
    train_ND: NDArray[np.float32],
    label_N: NDArray[np.int64],
    test_ND: NDArray[np.float32],
    *,
    draws: int,
    seed: int,
) -> tuple[NDArray[np.int64], int]:
    """Return the answers of the published SVM of NeWT, and the parts of its cross-validation.

    Features are centred on the training images and normalised; kernel, C and gamma are searched at random. The search needs as many
    images of each label as parts: with fewer images than the published five, there are fewer parts, and with one image none.

    Args:
        train_ND: normalised features of the training images.
        label_N: 0 or 1.
        test_ND: normalised features of the test images.
        draws: settings that are tried; 100 as published.
        seed: of the search.
    """
    from scipy.stats import loguniform  # a dependency of scikit-learn

    with importing():
        from sklearn.model_selection import RandomizedSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

    mean_D = train_ND.mean(axis=0)
    train, test = _unit(train_ND - mean_D), _unit(test_ND - mean_D)
    folds = min(FOLDS, int(np.bincount(label_N)[np.unique(label_N)].min()))
    learner: Any = make_pipeline(StandardScaler(), SVC(C=1.0, kernel="rbf"))
    if folds >= 2:
        spread = {
            "svc__C": loguniform(a=1e-3, b=1e1),
            "svc__kernel": ["rbf", "linear", "sigmoid", "poly"],
            "svc__gamma": loguniform(a=1e-4, b=1e-3),
        }
        learner = RandomizedSearchCV(learner, spread, n_iter=draws, cv=folds, random_state=seed)
    with quiet(), np.errstate(all="ignore"):
        learner.fit(train, label_N)
        return np.asarray(learner.predict(test)), folds if folds >= 2 else 0


def _unit(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12))
