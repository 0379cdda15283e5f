"""The losses of SDFlow's training (arXiv 2309.05314), and three of our own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sdflow.model import LOG_2PI, log_likelihood


def kd_loss(estimate: Tensor, attributes: Tensor) -> Tensor:
    """Mean squared error between the estimator's ``estimate`` (B,n) and the labels ``attributes`` (B,n) in [0, 1]."""
    return F.mse_loss(estimate, attributes.to(estimate))


def nll_loss(z: Tensor, forward_logp: Tensor) -> Tensor:
    """Mean negative log-likelihood per dimension, in nats, from ``z`` (B,L,D) and the flow's ``logp`` (B,L,1)."""
    return -log_likelihood(z, forward_logp).mean()


def nll_as_printed(nll: Tensor, width: int = 512) -> Tensor:
    """``nll`` as the authors' script prints it: a row's constant counts for each of its ``width`` numbers."""
    return nll + 0.5 * (width - 1) * LOG_2PI


def change_one(estimate: Tensor, chosen: Tensor, value: Tensor) -> Tensor:
    """The condition to edit to: ``estimate`` (B,n), detached, with entry ``chosen`` (B,) set to ``value`` (B,)."""
    return estimate.detach().scatter(1, chosen[:, None], value.to(estimate)[:, None])


def mi_loss(recognised: Tensor, target: Tensor) -> Tensor:
    """What the estimator reads off the edited picture, (B,n), against the condition it was made for, (B,n)."""
    return F.mse_loss(recognised, target)


def reg_loss(edited: Tensor, code: Tensor) -> Tensor:
    """Mean squared distance of the edited codes from the given ones, both (B,L,D)."""
    return F.mse_loss(edited, code)


def natural_loss(edited: Tensor, code: Tensor, precision: Tensor, usual: Tensor) -> Tensor:
    """Ours: squared Mahalanobis length of the part of a move off its usual direction, mean over samples and rows.

    The move leads from ``code`` to ``edited``, both (B,L,D). ``precision`` (D,D) is the inverse covariance of real
    photos' rows (``row_precision``), ``usual`` (B,D) the direction in which photos with and without the sample's
    attribute differ (``usual_directions``): along it a move costs nothing. Guidance by a classifier alone finds moves
    that fool it; this keeps those that photos differ by.
    """
    move = edited - code.to(edited)
    whole = ((move @ precision) * move).sum(2)
    weighed = usual @ precision
    along = torch.einsum("bld,bd->bl", move, weighed).square() / (weighed * usual).sum(1, keepdim=True)
    return (whole - along).mean()


def usual_directions(codes: Tensor, labels: Tensor) -> Tensor:
    """Least-squares change (n,D) of codes (N,D) per attribute, the other columns of ``labels`` (N,n) held fixed."""
    centred = labels.double() - labels.double().mean(0)
    return torch.linalg.lstsq(centred, codes.double() - codes.double().mean(0)).solution.float()


def row_precision(codes: Tensor, floor: float = 1e-2) -> Tensor:
    """Inverse covariance (D,D) of codes (N,D); ``floor`` times the mean variance is added to each direction's."""
    centred = (codes - codes.mean(0)).double()
    covariance = centred.t() @ centred / len(codes)
    covariance.diagonal().add_(floor * covariance.diagonal().mean().clone())
    return torch.linalg.inv(covariance).float()


def attribute_guidance(logits: Tensor, reference: Tensor, column: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Ours: what a frozen classifier sees in the edited pictures; returns the loss of the change and of all the rest.

    logits (B,A) of the edited pictures; reference (B,A) probabilities before the edit; column (B,) the attribute that
    was changed and value (B,) in [0, 1] the wish. Both losses are binary cross-entropies; the second, over the other
    attributes, has the entropy of ``reference`` taken off, so that it is zero when nothing else changes.
    """
    changed = F.binary_cross_entropy_with_logits(logits.gather(1, column[:, None])[:, 0], value.to(logits))
    reference = reference.to(logits).clamp(1e-6, 1 - 1e-6)
    each = F.binary_cross_entropy_with_logits(logits, reference, reduction="none")
    entropy = -(reference * reference.log() + (1 - reference) * (1 - reference).log())
    others = torch.ones_like(each).scatter(1, column[:, None], 0.0)
    return changed, ((each - entropy) * others).sum() / others.sum()


def identity_loss(edited: Tensor, original: Tensor) -> Tensor:
    """Ours: one minus the mean cosine of face embeddings, both (B,D) with unit rows."""
    return (1 - (edited * original).sum(1)).mean()
