"""How far it is to drive: shortest ways along directed roads (Dijkstra, by scipy)."""

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from platoon.nouns import Floats
from platoon.physics.roads import RoadMap


def compute_driving_distances(roads: RoadMap, start: Floats, places: Floats) -> Floats:
    """Metres along the roads from one point to others; infinite where no way leads there.

    Points are moved to the nearest road first, and the way begins in that road's driving direction.

    Args:
        roads: directed, with successors.
        start: (2,) metres.
        places: (P, 2) metres.
    """
    points, rows, headings = roads.project(np.vstack([start[None], places]))
    edges = roads.sample_edge[rows]
    along = np.stack([np.cos(headings), np.sin(headings)], axis=1)
    offsets = roads.sample_offset[rows] + ((points - roads.samples[rows]) * along).sum(axis=1)
    pairs = [(i, j) for i, following in enumerate(roads.successors) for j in following]
    begin, end = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    count = len(roads.lengths)
    graph = csr_matrix((roads.lengths[begin], (begin, end)), shape=(count, count))
    to_starts = dijkstra(graph, indices=edges[:1])[0]  # from the start of the first road to that of each
    distances: Floats = to_starts[edges[1:]] + offsets[1:] - offsets[0]
    ahead = (edges[1:] == edges[0]) & (offsets[1:] >= offsets[0])
    behind = (edges[1:] == edges[0]) & ~ahead
    distances[ahead] = (offsets[1:] - offsets[0])[ahead]
    if behind.any():  # round the block: to the start of the own road by way of what follows it
        back = to_starts[begin[end == edges[0]]] + roads.lengths[begin[end == edges[0]]]
        distances[behind] = back.min(initial=np.inf) + (offsets[1:] - offsets[0])[behind]
    return distances
