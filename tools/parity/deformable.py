"""One bilinear sample, as slowly and plainly as possible."""

import torch


def bilinear_sample(image, x, y):
    """`image`: [height, width, channels]; x, y in 0..1 span it; zero outside; pixel centres at
    (i + 0.5) / size. Differentiable in all arguments."""
    height, width, _ = image.shape
    px, py = x * width - 0.5, y * height - 0.5
    total = torch.zeros_like(image[0, 0])
    for row in (int(torch.floor(py)), int(torch.floor(py)) + 1):
        for column in (int(torch.floor(px)), int(torch.floor(px)) + 1):
            if 0 <= row < height and 0 <= column < width:
                total = total + image[row, column] * (1 - (px - column).abs()) * (1 - (py - row).abs())
    return total
