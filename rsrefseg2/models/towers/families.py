"""The families of image-text towers: what each gives as v, t_word and t_sent (Eq. 2).

`DualModalityEncoder` asks an adapter and holds the towers itself, so that weights keep their names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import CLIPModel, PreTrainedConfig, PreTrainedModel, SiglipModel
from transformers.modeling_outputs import BaseModelOutputWithPooling


class SigLIPFamily:
    """SigLIP, and SigLIP2 of a fixed resolution.

    Attributes:
        pixel_mean, pixel_std: by channel, that the family's images were normalised with.
        first_word: position of a sentence's first word.
        d1: width of v, t_word and t_sent.
        image_size: side in pixels of the images that the position embeddings belong to.
        logit_scale, logit_bias: of its pretraining loss; the scale is a logarithm.
        head_on_words: the text head maps every word. It makes d1 one number where the towers
            differ in width.
    """

    pixel_mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    pixel_std: tuple[float, ...] = (0.5, 0.5, 0.5)
    first_word = 0

    def __init__(self, model: PreTrainedModel) -> None:
        config = model.config
        self.d1 = self.width(config)
        self.image_size = self.pretrained_size(config.vision_config)
        self.logit_scale = float(model.logit_scale.detach())
        self.logit_bias = self.bias(model)
        self.head_on_words = config.text_config.hidden_size != self.d1

    def width(self, config: PreTrainedConfig) -> int:
        """d1."""
        return config.vision_config.hidden_size

    def pretrained_size(self, vision: PreTrainedConfig) -> int:
        """Side in pixels of the images of the pretraining."""
        return vision.image_size

    def bias(self, model: SiglipModel) -> float:
        """Where the dense prompt's learnable bias starts."""
        return float(model.logit_bias.detach())

    def image_tokens(self, tower: nn.Module, images: Tensor, *, interpolate: bool) -> Tensor:
        """images (U, 3, H1, W1) in the tower's dtype -> v (U, h1*w1, d1).

        Args:
            interpolate: the position embeddings, to a size other than the pretrained one.
        """
        return tower(pixel_values=images, interpolate_pos_encoding=interpolate).last_hidden_state

    def words(self, tower: nn.Module, states: Tensor) -> Tensor:
        """Last hidden states (B, L, width) -> t_word (B, L, d1)."""
        return tower.head(states) if self.head_on_words else states

    def sentence(
        self, tower: nn.Module, states: BaseModelOutputWithPooling, lengths: Tensor
    ) -> Tensor:
        """The text tower's output; lengths (B,) with eos -> t_sent (B, d1)."""
        return states.pooler_output


class NaFlexFamily(SigLIPFamily):
    """SigLIP2 NaFlex: a budget of patches, of which a square is used."""

    def pretrained_size(self, vision: PreTrainedConfig) -> int:
        """Side in pixels of the largest square within the budget."""
        return int(vision.num_patches**0.5) * vision.patch_size

    def image_tokens(self, tower: nn.Module, images: Tensor, *, interpolate: bool) -> Tensor:
        """images (U, 3, H1, W1) -> v (U, h1*w1, d1); the tower interpolates by itself."""
        inputs = naflex_inputs(images, tower.config.patch_size)
        return tower(**inputs).last_hidden_state


class CLIPFamily(SigLIPFamily):
    """CLIP: d1 is its common space, the only one in which image and text can be compared.

    v are the patches, without the class token, through the final norm and the projection that CLIP
    applies to the class token; t_word the words through the text's, without bos and eos; t_sent the
    eos's. There is no bias: it starts at 0.
    """

    pixel_mean = (0.48145466, 0.4578275, 0.40821073)
    pixel_std = (0.26862954, 0.26130258, 0.27577711)
    first_word = 1  # after the bos

    def __init__(self, model: CLIPModel) -> None:
        super().__init__(model)
        self.head_on_words = True
        share_space(model)

    def width(self, config: PreTrainedConfig) -> int:
        """d1, the width of the common space."""
        return config.projection_dim

    def bias(self, model: CLIPModel) -> float:
        """0: a sigmoid's middle."""
        return 0.0

    def image_tokens(self, tower: nn.Module, images: Tensor, *, interpolate: bool) -> Tensor:
        """images (U, 3, H1, W1) -> v (U, h1*w1, d1)."""
        states = super().image_tokens(tower, images, interpolate=interpolate)
        return tower.head(tower.post_layernorm(states[:, 1:]))

    def sentence(
        self, tower: nn.Module, states: BaseModelOutputWithPooling, lengths: Tensor
    ) -> Tensor:
        """The text tower's output; lengths (B,) with eos -> t_sent (B, d1), read at the eos."""
        rows = torch.arange(lengths.shape[0], device=lengths.device)
        return tower.head(states.last_hidden_state[rows, lengths - 1])


FAMILIES_BY_TYPE = {'siglip': SigLIPFamily, 'siglip2': NaFlexFamily, 'clip': CLIPFamily}


def family_of(model: PreTrainedModel) -> SigLIPFamily:
    """The adapter of a loaded SigLIP, NaFlex SigLIP2 or CLIP, by its config's model_type."""
    return FAMILIES_BY_TYPE[model.config.model_type](model)


def share_space(clip: CLIPModel) -> None:
    """Hang CLIP's two projections into its towers as `head`, as SigLIP's text tower has its own:
    they are then frozen, moved and stored with the tower that they belong to."""
    clip.vision_model.head = clip.visual_projection
    clip.text_model.head = clip.text_projection


def naflex_inputs(images: Tensor, patch: int) -> dict[str, Tensor]:
    """(U, 3, H, W) -> what a NaFlex image tower takes: every patch as a row of its pixels, and the
    grid; none is padding."""
    count, _, height, width = images.shape
    h1, w1 = height // patch, width // patch
    cells = images[:, :, : h1 * patch, : w1 * patch].unflatten(2, (h1, patch))
    cells = cells.unflatten(4, (w1, patch))  # (U, 3, h1, p, w1, p)
    pixels = cells.permute(0, 2, 4, 3, 5, 1).flatten(3)  # (U, h1, w1, p * p * 3)
    return {
        'pixel_values': pixels.flatten(1, 2),
        'pixel_attention_mask': torch.ones(count, h1 * w1, dtype=torch.int64, device=images.device),
        'spatial_shapes': torch.tensor([[h1, w1]] * count, device='cpu'),
    }  # read as numbers
