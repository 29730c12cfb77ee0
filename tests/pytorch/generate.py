"""Writes reference.safetensors: what PyTorch computes, in double precision, for tests/pytorch.rs.

Usage: pip install -r requirements.txt && python generate.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
out = {}


def keep(prefix, **tensors):
    for name, tensor in tensors.items():
        out[f"{prefix}.{name}"] = tensor.detach().clone().contiguous()


def layer(prefix, module, x, activation):
    """Forward, then backward of a random dy, with every gradient."""
    keep(prefix, **{name: value for name, value in module.state_dict().items() if value.dim()})
    x.requires_grad_(True)
    y = activation(module(x))
    dy = torch.randn_like(y)
    y.backward(dy)
    gradients = {f"d_{name}": p.grad for name, p in module.named_parameters()}
    keep(prefix, x=x, y=y, dy=dy, dx=x.grad, **gradients)


activations = {"identity": lambda x: x, "relu": torch.relu, "sigmoid": torch.sigmoid}
for name, activation in activations.items():
    layer(f"dense.{name}", nn.Linear(9, 5), torch.randn(31, 9), activation)
    norm = nn.BatchNorm1d(7)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    layer(f"batch_norm.{name}", norm, 3 + 2 * torch.randn(33, 7), activation)
    keep(f"batch_norm.{name}", new_mean=norm.running_mean, new_var=norm.running_var)

for name, loss in {"mse": F.mse_loss, "bce": F.binary_cross_entropy_with_logits}.items():
    y = (3 * torch.randn(129)).requires_grad_(True)
    target = torch.rand(129)
    value = loss(y, target)
    value.backward()
    keep(f"loss.{name}", y=y, target=target, value=value.reshape(1), dy=y.grad)

p = nn.Parameter(torch.randn(50))
gradients = torch.randn(20, 50)
keep("adam", p=p, gradients=gradients)
optimiser = torch.optim.Adam([p], lr=1e-2)
for gradient in gradients:
    p.grad = gradient.clone()
    optimiser.step()
keep("adam", after=p)


class Autoencoder(nn.Module):
    """12-9-7-3 and its mirror, the code included in the norms and ReLUs."""

    def __init__(self, last):
        super().__init__()
        widths = [12, 9, 7, 3]
        self.encoder = self.half(widths)
        self.decoder = self.half([3, 7, 9])
        self.decoder.append(nn.Linear(9, 12))
        self.decoder.extend(last)

    @staticmethod
    def half(widths):
        modules = []
        for a, b in zip(widths, widths[1:]):
            modules += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU()]
        return nn.Sequential(*modules)

    def forward(self, x):
        return self.decoder(self.encoder(x))


for name, loss, last in [
    ("mse", F.mse_loss, [nn.Sigmoid()]),
    ("bce", F.binary_cross_entropy_with_logits, []),
]:
    model = Autoencoder(last)
    state = {k: v for k, v in model.state_dict().items() if v.dim()}
    keep(f"model.{name}.before", **state)
    clean = torch.rand(20, 33, 12)
    noisy = clean + 0.5 * torch.randn_like(clean)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for x, target in zip(noisy, clean):
        optimiser.zero_grad()
        value = loss(model(x), target)
        value.backward()
        optimiser.step()
        losses.append(value.detach())
    keep(f"model.{name}", clean=clean, noisy=noisy, losses=torch.stack(losses))
    state = {k: v for k, v in model.state_dict().items() if v.dim()}
    keep(f"model.{name}.after", **state)
    model.eval()
    keep(f"model.{name}", codes=model.encoder(clean[0]))

save_file(out, Path(__file__).with_name("reference.safetensors"), {"torch": torch.__version__})
