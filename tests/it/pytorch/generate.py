"""Writes what PyTorch computes for the tests beside it: in double precision reference.safetensors,
convolution.safetensors, evaluation.safetensors, family.safetensors and activation.safetensors, and the state_dicts
dense.safetensors and conv.safetensors of two trained models in f32.

Usage: pip install -r requirements.txt && python generate.py
"""

import random
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


norms = {}
activations = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "tanh": torch.tanh,
    "softplus": F.softplus,
}
for name, activation in activations.items():
    layer(f"dense.{name}", nn.Linear(9, 5), torch.randn(31, 9), activation)
    norm = nn.BatchNorm1d(7)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    layer(f"batch_norm.{name}", norm, 3 + 2 * torch.randn(33, 7), activation)
    keep(f"batch_norm.{name}", new_mean=norm.running_mean, new_var=norm.running_var)
    norms[name] = norm

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

    def encode(self, x):
        return self.encoder(x)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def train(name, model, loss, clean, noisy):
    """Twenty steps of Adam, one for each batch of images given as [N, H, W, C] or [N, F]."""
    state = {k: v for k, v in model.state_dict().items() if v.dim()}
    keep(f"model.{name}.before", **state)
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
    keep(f"model.{name}", codes=model.encode(clean[0]))


trained = {}  # models, each with some images; of the dense ones the last
for name, loss, last in [
    ("mse", F.mse_loss, [nn.Sigmoid()]),
    ("bce", F.binary_cross_entropy_with_logits, []),
]:
    model = Autoencoder(last)
    clean = torch.rand(20, 33, 12)
    train(name, model, loss, clean, clean + 0.5 * torch.randn_like(clean))
    trained["dense"] = model, clean[0]


class ConvolutionalAutoencoder(nn.Module):
    """Two convolutions with a pooling between them, on colour images of 12×8 pixels."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ELU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(5), nn.ELU(),
            nn.Flatten(),
            nn.Linear(30, 6, bias=False), nn.BatchNorm1d(6), nn.ELU(),
            nn.Linear(6, 3, bias=False), nn.BatchNorm1d(3), nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.Linear(3, 6, bias=False), nn.BatchNorm1d(6), nn.ELU(),
            nn.Linear(6, 30, bias=False), nn.BatchNorm1d(30), nn.ELU(),
            nn.Unflatten(1, (5, 3, 2)),
            nn.ConvTranspose2d(5, 4, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(4), nn.ELU(),
            nn.Upsample(scale_factor=2),
            nn.ConvTranspose2d(4, 3, 3, padding=1), nn.Sigmoid(),
        )

    def encode(self, x):
        return self.encoder(x.permute(0, 3, 1, 2))

    def forward(self, x):
        return self.decoder(self.encode(x)).permute(0, 2, 3, 1)


clean = torch.rand(20, 5, 12, 8, 3)
noisy = clean + 0.5 * torch.randn_like(clean)
model = ConvolutionalAutoencoder()
train("conv", model, F.mse_loss, clean, noisy)
trained["conv"] = model, clean[0]
reference = out

metadata = {"torch": torch.__version__}
save_file(reference, Path(__file__).with_name("reference.safetensors"), metadata)

# Convolutions over random geometries. Inputs follow a formula, here and in Rust, so that only
# results need to be kept. Images are [N, H, W, C] outside PyTorch.
out = {}


def formula(shape, salt):
    count = torch.Size(shape).numel()
    return (((torch.arange(count) * 7919 + salt * 104729) % 257) / 128.0 - 1.0).reshape(shape)


def channels_first(x):
    return x.permute(0, 3, 1, 2).contiguous().requires_grad_(True)


def channels_last(x):
    return x.permute(0, 2, 3, 1)


def gradients(prefix, function, x, parameters=()):
    """y, and the gradients of x and of the parameters by dy from the formula."""
    x = channels_first(x)
    parameters = [p.requires_grad_(True) for p in parameters]
    y = function(x, *parameters)
    dy = formula(channels_last(y).shape, 4)
    y.backward(channels_first(dy).detach())
    keep(prefix, y=channels_last(y), dx=channels_last(x.grad))
    keep(prefix, **{name: p.grad for name, p in zip(["d_weight", "d_bias"], parameters)})


rng = random.Random(0)
geometries = []
while len(geometries) < 64:
    pair = lambda low, high: [rng.randint(low, high), rng.randint(low, high)]
    size, kernel, stride = pair(1, 7), pair(1, 5), pair(1, 3)
    padding, dilation = pair(0, 2), pair(1, 2)
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    padded = [n + 2 * p for n, p in zip(size, padding)]
    if any(s > n for s, n in zip(span, padded)):
        continue
    (images, _), (c, m) = pair(1, 2), pair(1, 17)
    small = [(n - s) // t + 1 for n, s, t in zip(padded, span, stride)]
    output_padding = [(n - s) % t for n, s, t in zip(padded, span, stride)]
    index = len(geometries)
    geometries.append([images, c, m, *size, *kernel, *stride, *padding, *dilation])
    arguments = dict(stride=stride, padding=padding, dilation=dilation)
    weight = formula([m, c, *kernel], 2)
    conv = lambda x, w, b: F.conv2d(x, w, b, **arguments)
    x = formula([images, *size, c], 1)
    gradients(f"conv2d.{index}", conv, x, [weight.clone(), formula([m], 3)])
    transposed = lambda x, w, b: F.conv_transpose2d(
        x, w, b, output_padding=output_padding, **arguments
    )
    y = formula([images, *small, m], 1)
    name = f"conv_transpose2d.{index}"
    gradients(name, transposed, y, [weight.clone(), formula([c], 3)])
    if all(2 * p <= k for p, k in zip(padding, kernel)):  # without the dilation
        pool = dict(kernel_size=kernel, stride=stride, padding=padding)
        gradients(f"max_pool2d.{index}", lambda x: F.max_pool2d(x, **pool), x)
        gradients(f"avg_pool2d.{index}", lambda x: F.avg_pool2d(x, **pool), x)
# Equal maxima: the first tap wins.
ties = torch.round(formula([2, 7, 6, 3], 1))
gradients("max_pool2d.ties", lambda x: F.max_pool2d(x, 3, 2, 1), ties)

out["geometries"] = torch.tensor(geometries, dtype=torch.float64)

for index, (size, factor) in enumerate([([3, 5], [2, 2]), ([4, 1], [1, 3])]):
    enlarge = lambda x: F.interpolate(x, scale_factor=tuple(map(float, factor)), mode="nearest")
    gradients(f"upsample.{index}", enlarge, formula([2, *size, 3], 1))

save_file(out, Path(__file__).with_name("convolution.safetensors"), metadata)

# Evaluation: batch norm with the running statistics that its step above has left, and the two
# trained models as anybody would save them. Their weights and images are rounded to f32, their
# outputs computed from those in double precision.
out = {}
for name, norm in norms.items():
    y = activations[name](norm.eval()(reference[f"batch_norm.{name}.x"]))
    keep(f"batch_norm.{name}", y=y)

for name, (model, images) in trained.items():
    state = model.float().state_dict()
    save_file(state, Path(__file__).with_name(f"{name}.safetensors"))
    model.double().eval()
    images = images.float().double()
    y = model(images)
    restored = torch.sigmoid(y) if name == "dense" else y  # which learnt by its logits
    keep(name, images=images, codes=model.encode(images), restored=restored)

save_file(out, Path(__file__).with_name("evaluation.safetensors"), metadata)

# Optimisers over twenty steps, and the models beside the autoencoder. Every value is drawn from one
# seed of its own, so that what stands above can change without changing these.
torch.manual_seed(1)
out = {}
p = torch.randn(50)
gradients = torch.randn(20, 50)
keep("optimiser", p=p, gradients=gradients)
optimisers = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2),
    "momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True),
    "clipped": lambda p: torch.optim.SGD(p, lr=1e-2),
}
for name, make in optimisers.items():
    parameter = nn.Parameter(p.clone())
    optimiser = make([parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        if name == "clipped":
            nn.utils.clip_grad_norm_([parameter], 5.0)
        optimiser.step()
    keep(f"optimiser.{name}", after=parameter)

logits = (3 * torch.randn(33, 7)).requires_grad_(True)
labels = torch.randint(0, 7, (33,))
labels[::5] = -1
value = F.cross_entropy(logits, labels, ignore_index=-1)
value.backward()
error = (logits.argmax(1) != labels)[labels >= 0].double().mean()
keep("softmax", logits=logits, labels=labels.double(), value=value.reshape(1), dy=logits.grad)
keep("softmax", error=error.reshape(1))


class Classifier(nn.Module):
    """12-9-7, norms and ReLUs, and four classes."""

    def __init__(self):
        super().__init__()
        self.encoder = Autoencoder.half([12, 9, 7])
        self.head = nn.Sequential(nn.Linear(7, 4))

    def encode(self, x):
        return self.encoder(x)

    def forward(self, x):
        return self.head(self.encoder(x))


class Tied(nn.Module):
    """12-9-3 and its mirror, whose weights are the encoder's, transposed."""

    def __init__(self):
        super().__init__()
        self.encoder = Autoencoder.half([12, 9, 3])
        self.decoder = nn.ModuleDict({"1": nn.BatchNorm1d(9)})
        self.decoder["3"] = nn.Module()
        self.decoder["3"].bias = nn.Parameter(torch.zeros(12))

    def encode(self, x):
        return self.encoder(x)

    def forward(self, x):
        first, second = self.encoder[0].weight, self.encoder[3].weight
        h = torch.relu(self.decoder["1"](self.encode(x) @ second))
        return torch.sigmoid(h @ first + self.decoder["3"].bias)


clean = torch.rand(20, 33, 12)
noisy = clean + 0.5 * torch.randn_like(clean)
train("tied", Tied(), F.mse_loss, clean, noisy)
labels = torch.randint(0, 4, (20, 33))
model = Classifier()
state = {k: v for k, v in model.state_dict().items() if v.dim()}
keep("model.classifier.before", **state)
optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
losses = []
for x, target in zip(noisy, labels):
    optimiser.zero_grad()
    value = F.cross_entropy(model(x), target)
    value.backward()
    optimiser.step()
    losses.append(value.detach())
state = {k: v for k, v in model.state_dict().items() if v.dim()}
keep("model.classifier.after", **state)
keep("model.classifier", noisy=noisy, labels=labels.double(), losses=torch.stack(losses))
model.eval()
keep("model.classifier", codes=model.encode(clean[0]), clean=clean)

# Models that draw random numbers inside a step, with numbers that are kept for both sides.
torch.manual_seed(2)


class Vae(nn.Module):
    """12-9-3, ReLUs, and logits."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 6))
        self.decoder = nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 12))

    def forward(self, x, noise):
        mean, log_variance = self.encoder(x).chunk(2, 1)
        divergence = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum() / len(x)
        y = self.decoder(mean + torch.exp(0.5 * log_variance) * noise)
        loss = F.binary_cross_entropy_with_logits(y, x, reduction="sum") / len(x)
        return {"reconstruction": loss, "kl": divergence}


class Dropped(Classifier):
    """The classifier with a mask, 0 or 2, behind either ReLU."""

    def __init__(self):
        super().__init__()
        parts = list(self.encoder)
        self.encoder = nn.Sequential(*parts[:3], nn.Identity(), *parts[3:], nn.Identity())

    def forward(self, x, labels, first, second):
        h = self.encoder[:3](x) * first
        h = self.encoder[4:7](h) * second
        return {"class": F.cross_entropy(self.head(h), labels)}


def train_given(name, model, weights, images, *given):
    """Twenty steps; every part of the loss by its name."""
    state = {k: v for k, v in model.state_dict().items() if v.dim()}
    keep(f"model.{name}.before", **state)
    keep(f"model.{name}", images=images)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    notes = {part: [] for part in weights}
    for x, *more in zip(images, *given):
        optimiser.zero_grad()
        losses = model(x, *more)
        sum(weights[part] * loss for part, loss in losses.items()).backward()
        optimiser.step()
        for part, loss in losses.items():
            notes[part].append(loss.detach())
    keep(f"model.{name}", **{part: torch.stack(losses) for part, losses in notes.items()})
    state = {k: v for k, v in model.state_dict().items() if v.dim()}
    keep(f"model.{name}.after", **state)


noise = torch.randn(20, 33, 3)
keep("model.vae", noise=noise)
train_given("vae", Vae(), {"reconstruction": 1.0, "kl": 0.7}, torch.rand(20, 33, 12), noise)

labels = torch.randint(0, 4, (20, 33))
masks = [2.0 * (torch.rand(20, 33, width) >= 0.5).double() for width in [9, 7]]
keep("model.dropout", labels=labels.double())
keep("model.dropout.mask", **{str(layer): mask for layer, mask in enumerate(masks)})
train_given("dropout", Dropped(), {"class": 1.0}, torch.rand(20, 33, 12), labels, *masks)

save_file(out, Path(__file__).with_name("family.safetensors"), metadata)

# Activations that no kernel fuses, behind a dense layer.
out = {}
for name, activation in {"gelu": F.gelu, "silu": F.silu, "mish": F.mish}.items():
    layer(f"dense.{name}", nn.Linear(9, 5), 2 * torch.randn(31, 9), activation)
save_file(out, Path(__file__).with_name("activation.safetensors"), metadata)
