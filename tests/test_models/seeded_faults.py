"""Wrong versions of the prompter's and the encoder's methods, one mistake each, to prove that the
tests see it."""

import torch
import torch.nn.functional as F

from rsrefseg2.models.prompter import CascadedPrompter
from rsrefseg2.models.symbols import EncodedText, Prompts


def swapped_query_and_key(self, query, key, value, key_mask=None):
    """Attention.forward with W_k on the queries and W_q on the keys."""

    def split(x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    mask = None if key_mask is None else key_mask[:, None, None, :]
    out = F.scaled_dot_product_attention(
        split(self.k_proj(query)),
        split(self.q_proj(key)),
        split(self.v_proj(value)),
        attn_mask=mask,
    )
    return self.out_proj(out.transpose(1, 2).flatten(2))


def without_key_mask(forward):
    """Attention.forward that reads the padding."""
    return lambda self, query, key, value, key_mask=None: forward(self, query, key, value)


def step(norm=True, residual=True, position_in_values=False):
    """AttentionStep.forward less one of its parts."""

    def forward(self, x, context, *, x_pe=0.0, context_pe=0.0, context_mask=None):
        values = context + context_pe if position_in_values else context
        y = self.attn(x + x_pe, context + context_pe, values, context_mask)
        y = x + y if residual else y
        return self.norm(y) if norm else y

    return forward


def pool_with_padding(t_word, word_mask, n_t):
    """text_pool over the padded length."""
    return F.adaptive_avg_pool1d(t_word.transpose(1, 2), n_t).transpose(1, 2)


def exchange(first=0, simultaneous=False):
    """DecompositionBlock.forward with another order of Eq. 4's last lines."""

    def forward(self, t1, t2, t_word, word_mask, pe):
        t = [t1, t2]
        for i in (0, 1):
            t[i] = self.self_attn[i](t[i], t[i], x_pe=pe[i], context_pe=pe[i])
            t[i] = self.word_attn[i](t[i], t_word, x_pe=pe[i], context_mask=word_mask)
            t[i] = self.word_mlp[i](t[i])
        old = list(t)
        for i in (first, 1 - first):
            other = old[1 - i] if simultaneous else t[1 - i]
            t[i] = self.exchange_attn[i](t[i], other, x_pe=pe[i], context_pe=pe[1 - i])
            t[i] = self.exchange_mlp[i](t[i])
        return tuple(t)

    return forward


def text_not_passed_on(forward):
    """InteractionBlock.forward that hands the next block its own text."""
    return lambda self, t, v, *position: (t, forward(self, t, v, *position)[1])


def prompts_in_parallel(self, p, t, v, *, p_pe, t_pe, v_pe, t_mask=None):
    """SparsePromptBlock.forward: the third line asks with the first line's result."""
    p = self.self_attn(p, p, x_pe=p_pe, context_pe=p_pe)
    by_text = self.text_mlp(self.text_attn(p, t, x_pe=p_pe, context_pe=t_pe))
    return by_text + self.image_mlp(self.image_attn(p, v, x_pe=p_pe, context_pe=v_pe))


def norm_before_upsampling(features, text, size, *, align_corners=False):
    """upsampled_cosine with Eq. 7's norm at low resolution."""
    cosine = F.cosine_similarity(features, text[:, :, None, None], dim=1)[:, None]
    return F.interpolate(cosine, size, mode='bilinear', align_corners=align_corners)[:, 0]


def without_norm(features, text, size, *, align_corners=False):
    """upsampled_cosine without Eq. 7's norm of the image's side."""
    dot = (features * F.normalize(text, dim=1)[:, :, None, None]).sum(1, keepdim=True)
    return F.interpolate(dot, size, mode='bilinear', align_corners=align_corners)[:, 0]


def other_corners(cosine):
    """upsampled_cosine with the other align_corners."""
    return lambda features, text, size, *, align_corners=False: cosine(
        features, text, size, align_corners=not align_corners
    )


def single_order(self, v, text):
    """CascadedPrompter.forward whose second order starts from v again."""
    pe1, pe2 = self.decomposition.pe
    t1, t2 = self.decomposition(text.t_word, text.word_mask)
    t1_act, v1_act, _ = self.first_order(t1, v, pe1, self.visual_pe)
    t2_act, v2_act, _ = self.second_order(t2, v, pe2, self.visual_pe)
    p_sparse = self.sparse(t2_act, v2_act, pe2, self.visual_pe)
    p_dense = self.dense(v2_act, text.t_sent, self.grid_size)
    return Prompts(t1, t2, t1_act, v1_act, t2_act, v2_act, p_sparse, p_dense)


def not_interleaved(self, v, text):
    """InterleavedPrompter.forward that runs one stack after the other."""
    return CascadedPrompter.forward(self, v, text)


def without_position(forward):
    """CascadedPrompter.forward that takes the image's position off again."""
    return lambda self, v, text: forward(self, v - self.visual_pe, text)


def without_post_layernorm(self, images):
    """DualModalityEncoder.encode_images that stops at the last layer."""
    return self.vision_model(pixel_values=images, output_hidden_states=True).hidden_states[-1]


def encode_text(
    eos=False, first=0, masked=False, other_head=False, sent_head=True, sent_at_eos=False
):
    """DualModalityEncoder.encode_text with one of its choices made otherwise."""

    def faulty(self, input_ids, lengths):
        position = torch.arange(input_ids.shape[1])
        states = self.text_model(
            input_ids=input_ids,
            attention_mask=(position < lengths[:, None]).long() if masked else None,
        )
        hidden, sentence = states.last_hidden_state, states.pooler_output
        if sent_at_eos:
            sentence = self.text_model.head(hidden[torch.arange(len(hidden)), lengths - 1])
        if not sent_head:
            sentence = hidden[:, -1]
        words = lengths if eos else lengths - 1
        longest = int(words.max())
        t_word = hidden[:, first : first + longest]
        if self.family.head_on_words != other_head:
            t_word = self.text_model.head(t_word)
        return EncodedText(t_word, position[:longest] < words[:, None], sentence)

    return faulty
