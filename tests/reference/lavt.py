"""LAVT (arXiv 2112.02244), RMSIN (arXiv 2312.12470) and what stands for LGCE, one number or one
position at a time. Weights by the package's names, without their prefix."""

import math

import torch

from .rsrefseg1 import batch_norm, gelu, upsampled


def linear(x, w, name):
    """W x + b of a vector; a 1 x 1 convolution at one position."""
    weight = w[f'{name}.weight'].reshape(w[f'{name}.weight'].shape[0], -1)
    out = weight @ x
    return out + w[f'{name}.bias'] if f'{name}.bias' in w else out


def relu(x):
    return torch.where(x > 0, x, torch.zeros_like(x))


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def softmax(scores):
    e = torch.exp(scores - scores.max())
    return e / e.sum()


def layer_norm(x, w, name, eps=1e-5):
    var = ((x - x.mean()) ** 2).mean()
    return (x - x.mean()) / (var + eps).sqrt() * w[f'{name}.weight'] + w[f'{name}.bias']


def instance_norm(rows, eps=1e-5):
    """(N, C): each channel over the positions of one image."""
    mean = rows.mean(0)
    return (rows - mean) / (((rows - mean) ** 2).mean(0) + eps).sqrt()


# ---- LAVT


def pwam(v, words, w, *, heads=1, activation=relu):
    """V_i (N, C_i), a sentence's own words (T, C_t) -> F_i (N, C_i)."""
    width = v.shape[1]
    part = width // heads
    q = instance_norm(torch.stack([linear(pixel, w, 'query') for pixel in v]))
    k = torch.stack([linear(word, w, 'key') for word in words])
    value = torch.stack([linear(word, w, 'value') for word in words])
    rows = []
    for pixel in q:
        parts = []
        for head in range(heads):
            at = slice(head * part, (head + 1) * part)
            scores = torch.stack([torch.dot(pixel[at], key[at]) for key in k]) / math.sqrt(width)
            shares = softmax(scores)
            parts.append(sum(share * one[at] for share, one in zip(shares, value)))
        rows.append(torch.cat(parts))
    g = instance_norm(torch.stack([linear(row, w, 'word') for row in rows]))
    image = torch.stack([activation(linear(pixel, w, 'image.0')) for pixel in v])
    return torch.stack([activation(linear(a * b, w, 'out.0')) for a, b in zip(image, g)])


def gate(f, w):
    """F_i (N, C_i) -> S_i (N, C_i)."""
    return torch.stack([torch.tanh(linear(relu(linear(row, w, '0')), w, '2')) for row in f])


def conv3x3(x, weight):
    """(B, C, h, w), zeros around, as nine shifted products."""
    batch, _, height, width = x.shape
    around = torch.zeros(batch, x.shape[1], height + 2, width + 2, dtype=x.dtype)
    around[:, :, 1:-1, 1:-1] = x
    out = 0
    for dy in range(3):
        for dx in range(3):
            shifted = around[:, :, dy : dy + height, dx : dx + width]
            out = out + torch.einsum('oi,bihw->bohw', weight[:, :, dy, dx], shifted)
    return out


def up(x, size):
    """(B, C, h, w) -> (B, C, *size)."""
    return torch.stack(
        [torch.stack([upsampled(c.flatten(), c.shape, size) for c in one]) for one in x]
    )


def decoder(features, w, *, second=None):
    """F_1 to F_4 -> mask logits (B, H_1, W_1); `second(x, name)` stands for rho's second conv."""
    second = second or (lambda x, name: conv3x3(x, w[f'{name}.weight']))
    y = features[3]
    for step, f in enumerate((features[2], features[1], features[0])):
        y = torch.cat([up(y, f.shape[-2:]), f], 1)
        y = conv3x3(y, w[f'rho.{step}.0.weight'])
        y = relu(batch_norm(y, w[f'rho.{step}.1.weight'], w[f'rho.{step}.1.bias']))
        y = second(y, f'rho.{step}.3')
        y = relu(batch_norm(y, w[f'rho.{step}.4.weight'], w[f'rho.{step}.4.bias']))
    scores = torch.einsum('oi,bihw->bohw', w['scores.weight'][:, :, 0, 0], y)
    scores = scores + w['scores.bias'][:, None, None]
    return scores[:, 1] - scores[:, 0]


# ---- RMSIN


def sub(w, prefix):
    """The weights below a prefix."""
    return {name[len(prefix) + 1 :]: v for name, v in w.items() if name.startswith(prefix + '.')}


def norm(x, w, name):
    return batch_norm(x, w[f'{name}.weight'], w[f'{name}.bias'])


def point(x, w, name):
    """A 1 x 1 convolution of (B, C, h, w)."""
    out = torch.einsum('oi,bihw->bohw', w[f'{name}.weight'][:, :, 0, 0], x)
    return out + w[f'{name}.bias'][:, None, None] if f'{name}.bias' in w else out


def receptive_field(x, w):
    """R(x) of one channel (B, 1, H, W)."""
    narrow = norm(x * w['point.0.weight'].reshape(()), w, 'point.1')
    inner = norm(x * w['wide.0.weight'].reshape(()), w, 'wide.1')
    wide = norm(conv3x3(inner, w['wide.2.weight']), w, 'wide.3')
    return narrow + wide + norm(x, w, 'same')


def intra_scale(v, w, size):
    """V_i (B, N, C) -> V' * gamma'(V')."""
    m = torch.stack([torch.stack([pixel.sum() / len(pixel) for pixel in one]) for one in v])
    a = receptive_field(m.reshape(len(v), 1, *size), sub(w, 'first'))
    a = sigmoid(receptive_field(relu(a), sub(w, 'second'))).reshape(len(v), -1)
    out = []
    for one, share in zip(v, a):
        scaled = one * share[:, None]
        out.append(gate(scaled, sub(w, 'gate')) * scaled)
    return torch.stack(out)


def average(x, size):
    """Adaptive average (B, C, H, W) -> (B, C, *size), sizes that divide."""
    fy, fx = x.shape[-2] // size[0], x.shape[-1] // size[1]
    out = torch.zeros(*x.shape[:2], *size, dtype=x.dtype)
    for i in range(size[0]):
        for j in range(size[1]):
            out[:, :, i, j] = x[:, :, i * fy : (i + 1) * fy, j * fx : (j + 1) * fx].mean((2, 3))
    return out


def depthwise(x, w, name, *, stride=1):
    """One kernel a channel, zeros around; (B, C, h, w)."""
    kernels = w[f'{name}.weight'][:, 0]
    side = kernels.shape[-1]
    pad, (height, width) = side // 2, x.shape[-2:]
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    out = torch.zeros(len(x), len(kernels), rows, columns, dtype=x.dtype)
    for o, kernel in enumerate(kernels):
        for i in range(rows):
            for j in range(columns):
                for dy in range(side):
                    for dx in range(side):
                        y, at = i * stride + dy - pad, j * stride + dx - pad
                        if 0 <= y < height and 0 <= at < width:
                            out[:, o, i, j] = out[:, o, i, j] + kernel[dy, dx] * x[:, o, y, at]
    return out + w[f'{name}.bias'][:, None, None] if f'{name}.bias' in w else out


def hardswish(x):
    return x * (x + 3).clamp(0, 6) / 6


def cross_scale_attention(x, w, *, heads, key_width):
    """CSA of (B, C, h, w)."""
    x_0 = norm(x, w, 'norm')
    scales = [
        x_0,
        norm(depthwise(x_0, w, 'coarse.0', stride=2), w, 'coarse.1'),
        norm(depthwise(x_0, w, 'coarser.0', stride=3), w, 'coarser.1'),
    ]
    tokens = torch.cat([s.flatten(2) for s in scales], 2)[:, :, None]
    q = norm(point(x_0, w, 'query.0'), w, 'query.1').flatten(2)
    k = norm(point(tokens, w, 'key.0'), w, 'key.1')[:, :, 0]
    v = norm(point(tokens, w, 'value.0'), w, 'value.1')[:, :, 0]
    count, read = q.shape[2], []
    for b in range(len(x)):
        columns = []
        for position in range(count):
            parts = []
            for head in range(heads):
                at = slice(head * key_width, (head + 1) * key_width)
                wide = slice(2 * head * key_width, 2 * (head + 1) * key_width)
                scores = (k[b, at].T @ q[b, at, position]) / math.sqrt(key_width)
                parts.append(v[b, wide] @ softmax(scores))
            columns.append(torch.cat(parts))
        read.append(torch.stack(columns, 1).reshape(-1, *x.shape[-2:]))
    own = v[:, :, :count].reshape(len(x), -1, *x.shape[-2:])
    out = torch.stack(read) + depthwise(hardswish(own), w, 'local')
    out = norm(point(out, w, 'out'), w, 'out_norm')
    return point(hardswish(out), w, 'last')


def feed_forward(x, w, expansion):
    """The 3 x 3 convolution reads the `expansion` channels of its own group."""
    x = norm(point(norm(x, w, '0'), w, '1'), w, '2')
    kernels, groups = w['3.weight'], []
    for start in range(0, x.shape[1], expansion):
        at = slice(start, start + expansion)
        groups.append(conv3x3(x[:, at], kernels[at]))
    x = torch.cat(groups, 1) + w['3.bias'][:, None, None]
    return point(x.clamp(0, 6), w, '5')


def cross_scale(features, w, *, heads, key_width, expansion=2):
    """F_1 to F_4 -> the same shapes."""
    size, widths = features[3].shape[-2:], [f.shape[1] for f in features]
    attention = dict(heads=heads, key_width=key_width)
    x = point(torch.cat([average(f, size) for f in features], 1), w, 'down')
    x = x + cross_scale_attention(x, sub(w, 'first'), **attention)
    at, parts = 0, []
    for scale, width in enumerate(widths):
        share = x[:, at : at + width // 4]
        parts.append(feed_forward(share, sub(w, f'by_scale.{scale}'), expansion))
        at += width // 4
    x = x + torch.cat(parts, 1)
    x = x + cross_scale_attention(x, sub(w, 'second'), **attention)
    x = x + feed_forward(x, sub(w, 'feed_forward'), expansion)
    x = point(norm(x, w, 'norm'), w, 'up')
    at, out = 0, []
    for scale, (f, width) in enumerate(zip(features, widths)):
        own, share = sub(w, f'gates.{scale}'), x[:, at : at + width]
        at += width
        weight = ((norm(point(share, own, 'weight.0'), own, 'weight.1') + 3) / 6).clamp(0, 1)
        shared = norm(point(share, own, 'shared.0'), own, 'shared.1')
        kept = norm(point(f, own, 'own.0'), own, 'own.1')
        out.append(kept * up(weight, f.shape[-2:]) + up(shared, f.shape[-2:]))
    return out


def rotated(kernel, theta):
    """A kernel (o, i, 3, 3) turned by theta: each cell reads bilinearly at R(theta) p."""
    out = torch.zeros_like(kernel)
    for row in range(3):
        for column in range(3):
            y, x = row - 1, column - 1
            at_x = (torch.cos(theta) * x - torch.sin(theta) * y).clamp(-1, 1) + 1
            at_y = (torch.sin(theta) * x + torch.cos(theta) * y).clamp(-1, 1) + 1
            left, top = min(int(at_x), 1), min(int(at_y), 1)
            dx, dy = at_x - left, at_y - top
            out[:, :, row, column] = (1 - dy) * (
                (1 - dx) * kernel[:, :, top, left] + dx * kernel[:, :, top, left + 1]
            ) + dy * ((1 - dx) * kernel[:, :, top + 1, left] + dx * kernel[:, :, top + 1, left + 1])
    return out


def adaptive_rotated_conv(x, w):
    """(B, C, h, w): one image, one kernel at a time."""
    read = depthwise(x, w, 'depthwise')
    out = []
    for b in range(len(x)):
        pixels = [relu(layer_norm(p, w, 'norm')) for p in read[b].flatten(1).T]
        pooled = sum(pixels) / len(pixels)
        share = sigmoid(linear(pooled, w, 'share'))
        turn = linear(pooled, w, 'angle')
        theta = turn / (1 + turn.abs()) * 40 * math.pi / 180
        out.append(
            sum(
                share[k] * conv3x3(x[b : b + 1], rotated(w['weight'][k], theta[k]))
                for k in range(len(share))
            )[0]
        )
    return torch.stack(out)


# ---- what stands for LGCE


def attention(rows, context, wq, wk, wv, w, name, heads):
    """Multi-head attention of torch's layout: rows (N, d) read context (M, c)."""
    bias, part = w[f'{name}.in_proj_bias'], rows.shape[1] // heads
    bq, bk, bv = bias.chunk(3)
    q, k, v = rows @ wq.T + bq, context @ wk.T + bk, context @ wv.T + bv
    out = []
    for row in q:
        parts = []
        for head in range(heads):
            at = slice(head * part, (head + 1) * part)
            parts.append(softmax(k[:, at] @ row[at] / math.sqrt(part)) @ v[:, at])
        out.append(linear(torch.cat(parts), w, f'{name}.out_proj'))
    return torch.stack(out)


def enhancement(features, sentences, w, *, heads):
    """F_1 to F_4 (B, C_i, H_i, W_i), each sentence's own words (T, C_t) -> the same shapes."""
    size, widths = features[3].shape[-2:], [f.shape[1] for f in features]
    pooled = torch.cat([average(f, size) for f in features], 1)
    shares = []
    for one, words in zip(pooled, sentences):
        x = torch.stack([linear(p, w, 'down') for p in one.flatten(1).T])
        own = (w[f'language.{kind}_proj_weight'] for kind in 'qkv')
        x = x + attention(x, words, *own, w, 'language', heads)
        x = torch.stack([layer_norm(row, w, 'norms.0') for row in x])
        x = x + attention(x, x, *w['scales.in_proj_weight'].chunk(3), w, 'scales', heads)
        x = torch.stack([layer_norm(row, w, 'norms.1') for row in x])
        x = x + torch.stack([linear(gelu(linear(row, w, 'mlp.0')), w, 'mlp.2') for row in x])
        x = torch.stack([layer_norm(row, w, 'norms.2') for row in x])
        shares.append(torch.stack([linear(row, w, 'up') for row in x], 1).reshape(-1, *size))
    at, out = 0, []
    for scale, (f, width) in enumerate(zip(features, widths)):
        raised = up(torch.stack(shares)[:, at : at + width], f.shape[-2:])
        at += width
        weight = sigmoid(point(torch.cat([f, raised], 1), w, f'gates.{scale}'))
        out.append(f + weight * raised)
    return out
