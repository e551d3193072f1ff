"""The accuracy of centralised training: the same network on the same data in one place, as a yardstick.

All samples that the vehicles of a scenario hold, with their true labels, are trained on by one machine with the
scenario's step size, momentum and batch; the loss is over all classes. Federated accuracies are stated as shares of
the best epoch's accuracy, beside the absolute number.
"""

import numpy as np
import torch

from platoon.drivers import datasets
from platoon.drivers.fleet_data import FleetData
from platoon.learning.evaluation import count_correct
from platoon.learning.models import FlatModel, initial_weights
from platoon.learning.training import LocalTrainer, TrainingSettings
from platoon.rng import stream
from platoon.scenario import Scenario


def train_centrally(scenario: Scenario, epochs: int = 8) -> list[float]:
    """Accuracy on the scenario's test images after each epoch.

    Raises:
        UserError: the data set does not fit the scenario.
    """
    torch.set_num_threads(1)  # sums of several threads end in other digits
    data = datasets.load(scenario.task.data)
    fleet = FleetData(scenario, data)
    rows = np.unique(np.concatenate([fleet.indices(vehicle) for vehicle in range(scenario.fleet.vehicles)]))
    images, labels = data.train_images[rows], np.asarray(data.train_labels[rows])
    test = fleet.test_indices()
    model, config = FlatModel(scenario.task.model, data.shape, data.classes), scenario.round
    trainer = LocalTrainer(
        model,
        TrainingSettings(
            epochs=1, batch=config.batch, learning_rate=config.learning_rate, momentum=config.momentum
        ),
    )
    weights = initial_weights(scenario.task.model, data.shape, data.classes, scenario.seed)
    accuracies = []
    for epoch in range(epochs):
        weights = weights + trainer.train(
            weights, images, labels, stream(scenario.seed, "centralised", epoch)
        )
        hits = count_correct(model, weights, data.test_images[test], data.test_labels[test])
        accuracies.append(int(hits.sum()) / len(test))
    return accuracies
