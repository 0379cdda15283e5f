"""A small anchor-free face detector: score, box and five points per cell at strides 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
MEAN_POINTS = ((-0.228, -0.115), (0.222, -0.115), (0.0, 0.085), (-0.195, 0.236), (0.195, 0.236))  # in a box of side 1


def conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Convolution and batch norm, with a ReLU when ``act``."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if act:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class SeparableBlock(nn.Module):
    """Depthwise then pointwise convolution, with a shortcut when the shape stays (MobileNet, arXiv:1704.04861)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = conv(inputs, inputs, kernel, stride, inputs)
        self.pointwise = conv(inputs, outputs, act=False)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.pointwise(self.depthwise(x))
        return F.relu(x + y if self.shortcut else y)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every cell's guess: ``logits`` (B,N), ``boxes`` (B,N,4) XYXY and ``points`` (B,N,5,2) in input pixels."""

    logits: Tensor
    boxes: Tensor
    points: Tensor


class FaceDetector(nn.Module):
    """Faces in ``image`` (B,3,H,W) float in [-1, 1], H and W multiples of 32; meant for faces of 14 to 300 pixels.

    ``channels``: widths at strides 2, 4, 8, 16, 32; ``depths``: blocks at strides 4 to 32; ``neck``: width of the three
    fused maps (feature pyramid, arXiv:1612.03144). Five points in the order of ``workbench.face.Detection``.
    """

    def __init__(
        self, channels: Sequence[int] = (16, 32, 64, 128, 128), depths: Sequence[int] = (1, 2, 3, 2), neck: int = 64
    ) -> None:
        super().__init__()
        self.stem = conv(3, channels[0], 3, 2)
        self.stages = nn.ModuleList()
        for i, depth in enumerate(depths):
            kernel = 3 if i < 2 else 5
            blocks = [SeparableBlock(channels[i], channels[i + 1], kernel, 2)]
            blocks += [SeparableBlock(channels[i + 1], channels[i + 1], kernel) for _ in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
        self.lateral = nn.ModuleList(conv(c, neck, act=False) for c in channels[2:])
        self.smooth = nn.ModuleList(SeparableBlock(neck, neck) for _ in STRIDES)
        self.heads = nn.ModuleList(nn.Sequential(SeparableBlock(neck, neck), nn.Conv2d(neck, 15, 1)) for _ in STRIDES)
        for head in self.heads:
            last = head[-1]  # type: ignore[index]
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)
            last.bias.data[0] = -4.6

    def forward(self, image: Tensor) -> Candidates:
        x, maps = self.stem(image), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i >= 1:
                maps.append(x)
        fused = [lateral(m) for lateral, m in zip(self.lateral, maps, strict=True)]
        for i in (1, 0):
            fused[i] = fused[i] + F.interpolate(fused[i + 1], scale_factor=2.0, mode="nearest")
        logits, boxes, points = [], [], []
        for stride, smooth, head, m in zip(STRIDES, self.smooth, self.heads, fused, strict=True):
            out = head(smooth(m)).flatten(2).transpose(1, 2)
            grid = cells(m.shape[2], m.shape[3], stride).to(out)
            centre = grid + out[..., 1:3] * stride
            half = out[..., 3:5].clamp(-4, 4).exp() * stride
            logits.append(out[..., 0])
            boxes.append(torch.cat([centre - half, centre + half], -1))
            place = out[..., 5:].unflatten(-1, (5, 2)) * 0.5 + out.new_tensor(MEAN_POINTS)
            points.append(centre[..., None, :] + 2 * half[..., None, :] * place)
        return Candidates(torch.cat(logits, 1), torch.cat(boxes, 1), torch.cat(points, 1))


def cells(height: int, width: int, stride: int) -> Tensor:
    """(height * width, 2) centres x, y of a map's cells in input pixels, rows first."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride


def box_overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (N,M) of ``boxes`` (N,4) and ``others`` (M,4), XYXY."""
    low = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area, other = (boxes[:, 2:] - boxes[:, :2]).prod(-1), (others[:, 2:] - others[:, :2]).prod(-1)
    return shared / (area[:, None] + other[None] - shared).clamp(min=1e-6)


def merge(scores: Tensor, boxes: Tensor, points: Tensor, threshold: float = 0.4) -> tuple[Tensor, Tensor, Tensor]:
    """One face for each group of overlapping guesses: the best score, boxes and points averaged by score.

    ``scores`` (N,), ``boxes`` (N,4), ``points`` (N,5,2); a box lying mostly inside a better one joins its group too.
    Averaging takes out much of what single cells err by. Returns the same three, best first.
    """
    order = scores.argsort(descending=True)
    scores, boxes, points = scores[order], boxes[order], points[order]
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    while len(scores):
        low, high = torch.maximum(boxes[0, :2], boxes[:, :2]), torch.minimum(boxes[0, 2:], boxes[:, 2:])
        shared = (high - low).clamp(min=0).prod(-1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
        union = box_overlap(boxes[:1], boxes)[0]
        near = union > 0.6
        near[0] = True
        weight = (scores * near).square()
        weight = weight / weight.sum()
        kept.append((scores[0], (weight[:, None] * boxes).sum(0), (weight[:, None, None] * points).sum(0)))
        drop = (union > threshold) | (shared / area.clamp(min=1e-6) > 0.7) | near
        scores, boxes, points = scores[~drop], boxes[~drop], points[~drop]
    if not kept:
        return scores, boxes, points
    return tuple(torch.stack(part) for part in zip(*kept, strict=True))  # type: ignore[return-value]
