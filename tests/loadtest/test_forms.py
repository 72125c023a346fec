"""A form's score is shown with what it was counted on."""

from loadtest.forms import shown_score


def test_a_share_of_rows_is_shown_with_their_number_and_its_interval():
    certificate = {
        "metrics": {"accuracy": 0.99722},
        "intervals": {"accuracy": {"rows": 360, "low": 0.98462, "high": 0.99993}},
    }
    assert shown_score(certificate, "accuracy") == "0.9972 (n = 360, 0.9846–0.9999)"
    assert shown_score({"metrics": {"r2": 0.9}, "intervals": {}}, "r2") == "0.9000"
