"""Diabolo's few-label evaluation in PyTorch and FAISS: k-NN from N labelled images, for k = 1 and for
the k that predicts the labelled images best from each other, by both distances, over many draws.

Draws are nested, and there are two ways to search them, the first better for narrow rows (features),
whose distances are cheap, the second for wide ones (pixels), whose distances it never computes twice:

faiss    an exact index for each draw and number of labels
nested   all distances to a block of queries in one product, then for each draw its columns, and for
         each number of labels `topk` of the first of them
"""

import faiss
import torch

CHOICES = [1, 3, 5, 7, 9, 15]
DISTANCES = ["euclidean", "cosine"]
BLOCK = 500


def half_whitened(train, test):
    """Centred, and each principal component of `train` over the square root of its deviation."""
    mean = train.double().mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((train.double() - mean).T, correction=0))
    scales = torch.where(values > 1e-12, values.clamp(min=1e-12) ** -0.25, 1)
    return [((rows - mean) @ (vectors * scales)).float() for rows in (train, test)]


class References:
    """Rows to search among, `[count, width]`, and what their distances need."""

    def __init__(self, rows):
        self.rows = rows
        lengths = rows.norm(dim=1)
        self.half_squares = lengths.square() / 2
        self.inverse_lengths = torch.where(lengths > 0, 1 / lengths, 0)

    def scores(self, queries):
        """`[queries, count]` for each distance: in the order of nearness to each query, the nearest
        largest."""
        dots = queries @ self.rows.T
        cosine = dots * self.inverse_lengths
        return dots.sub_(self.half_squares), cosine

    def unit_rows(self):
        return self.rows * self.inverse_lengths[:, None]


def weights(k):
    """Of the votes of k neighbours, nearest first. The nearer weighs a little more, so that ties go to
    whom the nearest voted for."""
    return 1 + 0.5 ** torch.arange(2, k + 2)


def ballots(labels):
    """Votes `[queries, k, 10]` of the labels `[queries, k]` of neighbours."""
    return torch.nn.functional.one_hot(labels, 10) * weights(labels.shape[1])[:, None]


def hits(labels, truth, k):
    """How many of the queries' votes are right: of the nearest alone, and of the k nearest."""
    nearest = (labels[:, 0] == truth).sum()
    if k == 1:
        return torch.stack([nearest, nearest])
    votes = torch.zeros(len(labels), 10)
    votes.scatter_add_(1, labels[:, :k], weights(k).expand(len(labels), k))
    return torch.stack([nearest, (votes.argmax(1) == truth).sum()])


def choose(references, labels, sizes, held_back):
    """The best k for each distance and size: the first `held_back` rows are predicted from the rest."""
    chosen = []
    for scores in references.scores(references.rows[:held_back]):
        scores.fill_diagonal_(-torch.inf)
        for size in sizes:
            rows = min(size, held_back)
            near = labels[scores[:rows, :size].topk(CHOICES[-1]).indices]
            right = ballots(near).cumsum(1).argmax(2) == labels[:rows, None]
            right = right.sum(0).tolist()
            chosen.append(max(CHOICES, key=lambda k: right[k - 1]))
    return torch.tensor(chosen).view(len(DISTANCES), len(sizes))


def search_faiss(train, test, draws, sizes, ks, found):
    """An index for each distance, draw and size."""
    pairs = [
        (faiss.IndexFlatL2, train, test),
        (faiss.IndexFlatIP, References(train).unit_rows(), References(test).unit_rows()),
    ]
    for distance, (kind, train, test) in enumerate(pairs):
        for draw, order in enumerate(draws):
            rows = train[order].numpy()
            for size, count in enumerate(sizes):
                index = kind(rows.shape[1])
                index.add(rows[:count])
                near = index.search(test.numpy(), int(ks[draw, distance, size]))[1]
                found(distance, draw, size, slice(None), torch.from_numpy(near))


def search_nested(train, test, draws, sizes, ks, found):
    """One product for all draws."""
    references = References(train)
    for first in range(0, len(test), BLOCK):
        block = slice(first, first + BLOCK)
        for distance, scores in enumerate(references.scores(test[block])):
            for draw, order in enumerate(draws):
                drawn = scores.index_select(1, order)
                for size, count in enumerate(sizes):
                    near = drawn[:, :count].topk(int(ks[draw, distance, size])).indices
                    found(distance, draw, size, block, near)


SEARCHES = {"faiss": search_faiss, "nested": search_nested}


def accuracies(search, train, test, train_labels, test_labels, draws, sizes, held_back):
    """Right answers, as a part of 1: `[draws, distances, sizes, (k = 1, k chosen)]`."""
    ks = [choose(References(train[order]), train_labels[order], sizes, held_back) for order in draws]
    ks = torch.stack(ks)
    right = torch.zeros(*ks.shape, 2, dtype=torch.long)

    def found(distance, draw, size, queries, near):
        labels = train_labels[draws[draw]][near]
        right[draw, distance, size] += hits(labels, test_labels[queries], ks[draw, distance, size])

    SEARCHES[search](train, test, draws, sizes, ks, found)
    return right / len(test)
