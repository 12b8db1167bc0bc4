"""What is said of tiny networks."""

from cases.experiments import findings_of

from gatentk.papers.blocks import EXPERIMENT


def test_claims_are_made_of_every_data_set(results, small):
    claims = findings_of(EXPERIMENT, small, results).claims
    of_digits = [claim for claim in claims if "digits" in claim.outcome]
    assert (len(of_digits), len(claims)) == (8, 8 + 5)
    assert all("width 32: " in claim.outcome and "(g = 16)" in claim.outcome for claim in of_digits[:4])
    assert all(claim.statement.endswith(".") and claim.outcome.endswith(".") for claim in claims)


def test_longer_steps_are_not_called_shorter(results, small):
    slow = {key: dict(value) for key, value in results.items()}
    networks = slow["digits times"]["networks"]
    slow["digits times"]["networks"] = networks | {"relu width 32": {"steps": [1e-9] * 3, "table": 0.0}}
    claim, *_ = findings_of(EXPERIMENT, small, slow).claims
    assert "step of training takes less time" in claim.statement
    assert claim.agrees is False


def test_a_kernel_that_is_not_resolved_decides_nothing_good(results, small):
    changed = dict(results)
    changed["digits centred width 32 block 16 kernel"] = {"values": [1.5, 1.5], "resolved": False}
    (claim,) = [c for c in findings_of(EXPERIMENT, small, changed).claims if "smaller condition number" in c.statement]
    assert "at least 1.5" in claim.outcome
    assert claim.agrees is not True
