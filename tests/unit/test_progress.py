"""What is told of a push while it goes on."""

import pytest

from ckf_airgap.push.progress import Meter, Progress


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (
            Progress(12, (), 4_100_000_000, 9_800_000_000, 3_000_000_000, 210e6),
            "12 images done, 4.1 GB of 9.8 GB read (42%) at 210.0 MB/s, about 27 s left, "
            "3.0 GB sent",
        ),
        (
            Progress(0, (), 0, 100_000_000_000, 0, 0.0),
            "0 images done, 0 kB of 100.0 GB read (0%), 0 kB sent",
        ),
        (
            Progress(1, (), 1_000_000_000, 100_000_000_000, 5_000, 99e6),
            "1 images done, 1.0 GB of 100.0 GB read (1%) at 99.0 MB/s, about 17 min left, "
            "5 kB sent",
        ),
        (
            Progress(1, (), 0, 100_000_000_000, 0, 10e6),
            "1 images done, 0 kB of 100.0 GB read (0%) at 10.0 MB/s, about 2.8 h left, 0 kB sent",
        ),
    ],
)
def test_the_words(progress: Progress, text: str) -> None:
    assert str(progress) == text


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("ckf_airgap.push.progress.time", clock)
    return clock


def test_it_is_told_twice_a_second_at_the_most(clock: Clock) -> None:
    told: list[Progress] = []
    meter = Meter(1000, told.append)
    for _ in range(100):
        clock.now += 0.1
        meter.tick()
    assert 15 <= len(told) <= 20
    meter.tick(now=True)
    meter.tick(now=True)
    assert 17 <= len(told) <= 22


def test_what_is_finished_is_told_once(clock: Clock) -> None:
    told: list[Progress] = []
    meter = Meter(1000, told.append)
    meter.finished(["h/a:1", "h/b:1"])
    meter.present(3)
    meter.sent(70)
    meter.read(500)
    for _ in range(2):
        meter.tick(now=True)
    assert [progress.finished for progress in told] == [("h/a:1", "h/b:1"), ()]
    assert [progress.images for progress in told] == [5, 5]
    assert told[1].sent_bytes == 70
    assert told[1].fraction == 0.5


def test_the_rate_is_that_of_the_last_minute(clock: Clock) -> None:
    told: list[Progress] = []
    meter = Meter(10_000_000, told.append)
    position = 0
    for second in range(200):
        clock.now += 1
        position += 1000 if second < 100 else 10
        meter.read(position)
        meter.tick()
    assert told[50].rate == pytest.approx(1000)
    assert told[-1].rate == pytest.approx(10)


def test_an_archive_that_is_read_again_has_no_rate_below_nothing(clock: Clock) -> None:
    told: list[Progress] = []
    meter = Meter(1000, told.append)
    for position in (900, 10):
        clock.now += 1
        meter.read(position)
        meter.tick()
    assert told[-1].rate >= 0
