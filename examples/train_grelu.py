"""Train a gated ReLU network on the digits of scikit-learn: gates are computed once and looked up by sample."""

import torch
from torch.utils.data import DataLoader

import gatentk as gt


def main(epochs=5):
    """Train, and print the loss of every epoch and the test accuracy."""
    torch.manual_seed(0)
    digits = gt.data.load("digits")
    x, y = digits.x.float(), digits.y
    train, test = torch.randperm(len(x)).split([1437, 360])

    net = gt.nn.GReLUNetwork(d_in=x.shape[1], width=512, depth=2, d_out=10)
    table = net.gate_table(x[train])
    loader = DataLoader(gt.gates.NumberedSamples(x[train], y[train]), batch_size=128, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    for epoch in range(epochs):
        total = 0.0
        for idx, inputs, labels in loader:
            loss = torch.nn.functional.cross_entropy(net(inputs, gates=table[idx]), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(idx)
        print(f"epoch {epoch + 1}: train loss {total / len(train):.4f}")

    with torch.no_grad():
        accuracy = (net(x[test]).argmax(1) == y[test]).float().mean().item()
    print(f"test accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
