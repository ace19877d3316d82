"""The feed: exact resume, bounded memory, heartbeats, an end."""

from __future__ import annotations

import asyncio

from allsky360.api.feed import Event, Feed, read_id


async def take(feed: Feed, position: int, count: int) -> list[Event | None]:
    got: list[Event | None] = []
    async for event in feed.follow(position, heartbeat_s=0.02):
        got.append(event)
        if len(got) == count:
            break
    return got


async def test_a_reader_gets_every_event_once_in_order() -> None:
    feed = Feed()
    for i in range(3):
        feed.publish("frame", {"n": i})
    reader = asyncio.create_task(take(feed, 1, 4))
    await asyncio.sleep(0)
    feed.publish("frame", {"n": 3})
    feed.publish("frame", {"n": 4})
    got = await asyncio.wait_for(reader, 5)
    assert [e.data["n"] for e in got if e] == [1, 2, 3, 4]


async def test_a_reader_that_fell_behind_is_told_and_goes_on() -> None:
    feed = Feed(kept=5)
    for i in range(20):
        feed.publish("frame", {"n": i})
    assert len(feed._log) == 5
    reader = asyncio.create_task(take(feed, 2, 2))
    await asyncio.sleep(0.01)
    feed.publish("frame", {"n": 20})
    got = await asyncio.wait_for(reader, 5)
    assert got[0] is not None
    assert got[0].name == "reset"
    assert got[1] is None or got[1].data["n"] == 20


async def test_silence_is_filled_with_heartbeats() -> None:
    assert await take(Feed(), 0, 2) == [None, None]


async def test_closing_ends_every_stream() -> None:
    feed = Feed()

    async def read_all() -> int:
        return len([e async for e in feed.follow(0, heartbeat_s=30)])

    readers = [asyncio.create_task(read_all()) for _ in range(3)]
    await asyncio.sleep(0)
    feed.close()
    assert await asyncio.wait_for(asyncio.gather(*readers), 5) == [0, 0, 0]


def test_ids_carry_run_position_and_stamp() -> None:
    feed = Feed(boot="abc")
    event = feed.publish("frame", {}, stamp=77)
    assert event.id == "abc-1-77"
    resume = read_id(event.id)
    assert resume is not None
    assert (resume.boot, resume.sequence, resume.stamp) == ("abc", 1, 77)
    assert feed.publish("state", {}).id == "abc-2-77"
    for wrong in (None, "", "7", "abc-1", "x-1-2", "abc--1-2", "abc-1-2-3", "a" * 50 + "-1-1"):
        assert read_id(wrong) is None


def test_events_are_written_in_the_stream_format() -> None:
    text = Feed(boot="a").publish("frame", {"text": "two\nlines"}).encode().decode()
    assert text == 'id: a-1-0\nevent: frame\ndata: {"text":"two\\nlines"}\n\n'
