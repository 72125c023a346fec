import pytest

from serving.settings import Settings, _cores


def test_settings_come_from_the_environment():
    settings = Settings.read({"EKIBEN_WORKERS": "3", "EKIBEN_MAX_LATENCY_MS": "50.5", "EKIBEN_FORMS": ""})
    assert (settings.workers, settings.max_latency_ms, settings.forms) == (3, 50.5, "")


def test_workers_times_threads_stay_within_the_cores():
    for workers in (1, 2, 3, 100):
        threads = Settings(workers=workers).threads()
        assert threads >= 1
        assert threads == 1 or workers * threads <= _cores()
    assert Settings(workers=2, engine_threads=5).threads() == 5


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WORKERS", "two", "EKIBEN_WORKERS=two must be a whole number"),
        ("WORKERS", "0", "EKIBEN_WORKERS=0 must be at least 1"),
        ("MAX_LATENCY_MS", "-1", "EKIBEN_MAX_LATENCY_MS=-1.0 must be at least 1"),
        ("ENGINE_THREADS", "-2", "EKIBEN_ENGINE_THREADS=-2 must be at least 0"),
        ("DISPATCHER", "other", "EKIBEN_DISPATCHER=other must be ekiben or bentoml"),
        ("VERSIONS", "iris", "EKIBEN_VERSIONS=iris must be model=version"),
    ],
)
def test_a_wrong_setting_names_the_variable_its_value_and_what_is_allowed(name, value, words):
    with pytest.raises(ValueError, match=words):
        Settings.read({f"EKIBEN_{name}": value})


def test_versions_are_pinned_by_model():
    assert Settings(versions="digits=1a, iris=2b").pinned() == {"digits": "1a", "iris": "2b"}
