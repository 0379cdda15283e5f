"""Identity embedding of FFHQ-aligned faces by the published ArcFace IR-SE50 (``model_ir_se50.pth`` loads as it is)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from encoders.inputs import check_images, resize
from encoders.irse import Backbone

FACE_SIZE = 256
ROWS = slice(35, 223)
COLUMNS = slice(32, 220)


def crop_face(image: Tensor, size: int = 112) -> Tensor:
    """Cut the inner face out of an FFHQ-aligned ``image`` (B,3,S,S) and average-pool it to (B,3,size,size).

    The crop is rows 35:223 and columns 32:220 of the face at 256 px, as in the identity loss of pSp and e4e. A larger
    image is average-pooled to 256 px first (exact for 512 and 1024), a smaller one is enlarged bilinearly.
    """
    check_images(image)
    if min(image.shape[2:]) > FACE_SIZE:
        image = F.adaptive_avg_pool2d(image, FACE_SIZE)
    image = resize(image, FACE_SIZE)
    return F.adaptive_avg_pool2d(image[:, :, ROWS, COLUMNS], size)


class IdentityEncoder(Backbone):
    """ArcFace identity of whole FFHQ crops: forward ``image`` (B,3,S,S) RGB in [-1,1] -> (B,512) rows of unit length.

    The dot product of two rows is their cosine. The state dict is that of ``Backbone(112, 50, "ir_se")``.
    """

    def __init__(self) -> None:
        super().__init__(112, 50, "ir_se")

    def forward(self, face: Tensor) -> Tensor:
        return self.embed(crop_face(face, self.input_size))
