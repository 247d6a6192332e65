"""Token buckets."""

from agent.token_bucket import TokenBucket


def test_a_burst_is_followed_by_the_rate() -> None:
    bucket = TokenBucket(2.0, 3, 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(100.4)
    assert bucket.take(100.6)
    assert not bucket.take(100.6)
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_waiting_takes_tokens_ahead() -> None:
    bucket = TokenBucket(0.5, 2, 0.0)
    assert [bucket.wait(0.0) for _ in range(4)] == [0.0, 0.0, 2.0, 4.0]
    assert bucket.wait(10.0) == 0.0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(1.0, 1, 10.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)
