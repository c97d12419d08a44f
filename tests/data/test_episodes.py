import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openfsar.data.episodes import EpisodeError, EpisodePlan, EpisodeSampler

GOLDEN = "ffe5873b527f47af"


@st.composite
def data_sets(draw):
    """Labels and groups of videos in any order, and arguments of a sampler that they suffice for."""
    way, shot, query = (draw(st.integers(least, 4)) for least in (2, 1, 1))
    recordings = st.lists(st.integers(1, 3), min_size=shot + query, max_size=shot + query + 3)
    classes = draw(st.lists(recordings, min_size=way, max_size=way + 3))
    videos = [
        (label, group)
        for label, sizes in enumerate(classes)
        for group, size in enumerate(sizes)
        for _ in range(size)
    ]
    labels, groups = torch.tensor(draw(st.permutations(videos))).T
    seed = draw(st.integers(0, 2**63 - 1))
    return labels, groups, {"way": way, "shot": shot, "query": query, "seed": seed}


@settings(deadline=None, max_examples=60)
@given(drawn=data_sets(), start=st.integers(0, 10**9))
def test_an_episode_has_distinct_classes_and_no_video_twice(drawn, start):
    labels, _, arguments = drawn
    sampler = EpisodeSampler(labels, **arguments)
    plan = sampler.plan(20, start)
    assert plan.classes.shape == (20, sampler.way)
    assert plan.support.shape == (20, sampler.way, sampler.shot)
    assert plan.query.shape == (20, sampler.way, sampler.query)
    videos = torch.cat([plan.support, plan.query], -1)
    assert torch.equal(labels[videos], plan.classes[..., None].expand_as(videos))
    for classes, chosen in zip(plan.classes.tolist(), videos.flatten(1).tolist(), strict=True):
        assert len(set(classes)) == len(classes)
        assert len(set(chosen)) == len(chosen)


@settings(deadline=None, max_examples=60)
@given(drawn=data_sets())
def test_support_shares_no_recording_with_the_queries_of_its_class(drawn):
    labels, groups, arguments = drawn
    plan = EpisodeSampler(labels, groups=groups, **arguments).plan(20)
    videos = torch.cat([plan.support, plan.query], -1)
    assert torch.equal(labels[videos], plan.classes[..., None].expand_as(videos))
    assert all(len(set(row)) == len(row) for row in videos.flatten(0, 1).tolist())
    assert not (groups[plan.support][..., :, None] == groups[plan.query][..., None, :]).any()


@settings(deadline=None, max_examples=60)
@given(drawn=data_sets(), start=st.integers(0, 40), count=st.integers(0, 20))
def test_a_plan_from_any_start_is_a_slice_of_the_whole(drawn, start, count):
    labels, groups, arguments = drawn
    sampler = EpisodeSampler(labels, groups=groups, **arguments)
    whole, part = sampler.plan(60), sampler.plan(count, start)
    for name in ("classes", "support", "query"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[start : start + count])
    assert part.digest == whole[start : start + count].digest


def test_the_plan_is_the_same_on_every_machine():
    labels = torch.arange(12).repeat_interleave(9)
    plan = EpisodeSampler(labels, way=5, shot=2, query=3, seed=7).plan(100)
    assert plan.digest == GOLDEN


def test_another_seed_draws_other_episodes():
    labels = torch.arange(12).repeat_interleave(9)
    plans = [EpisodeSampler(labels, way=5, shot=1, query=1, seed=seed).plan(50) for seed in (0, 1, 2**63)]
    assert len({plan.digest for plan in plans}) == 3


@pytest.mark.parametrize("grouped", [False, True])
def test_every_class_and_video_is_drawn_about_equally_often(grouped):
    labels = torch.arange(6).repeat_interleave(8)
    groups = torch.arange(48) // 2 if grouped else None  # recordings of two videos each
    count = 20_000
    plan = EpisodeSampler(labels, way=3, shot=2, query=1, groups=groups).plan(count)
    for part in (plan.support, plan.query):
        seen = part.flatten().bincount(minlength=48).double()
        expected = part.numel() / 48
        assert (seen - expected).abs().max() < 5 * expected**0.5
    assert (plan.classes[:, 0].bincount() - count / 6).abs().max() < 5 * (count / 6) ** 0.5


def test_all_pairs_of_support_and_query_are_equally_likely():
    plan = EpisodeSampler(torch.tensor([0, 0, 0, 0, 1, 1]), way=2, shot=1, query=1).plan(24_000)
    rows = plan.classes == 0
    pairs = plan.support[..., 0][rows] * 4 + plan.query[..., 0][rows]
    seen = pairs.bincount(minlength=16).reshape(4, 4).double()
    assert torch.equal(seen.diagonal(), torch.zeros(4, dtype=torch.double))
    off = seen[~torch.eye(4, dtype=torch.bool)]
    assert (off - 2000).abs().max() < 5 * 2000**0.5


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"way": 4}, "way=4 classes are asked for, there are 3"),
        ({"way": 1}, "way must be at least 2, got 1"),
        ({"shot": 0}, "shot must be at least 1, got 0"),
        ({"query": 0}, "query must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"shot": 3}, "class 'sit' has 3 videos, but shot=3 and query=1 need 4"),
    ],
)
def test_impossible_episodes_are_refused_at_once(shape, message):
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 4)
    with pytest.raises(EpisodeError, match=message):
        EpisodeSampler(labels, names=("run", "sit", "walk"), **{"way": 2, "shot": 1, "query": 1, **shape})


def test_too_few_recordings_are_refused_with_the_class_and_its_count():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    groups = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
    with pytest.raises(EpisodeError, match="class 1 has 4 videos in 1 groups: with query=1 only 0"):
        EpisodeSampler(labels, way=2, shot=1, query=1, groups=groups)


def test_groups_are_kept_apart_by_class():
    """Two people who each do both actions: a recording number may occur in several classes."""
    labels, groups = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    plan = EpisodeSampler(labels, way=2, shot=2, query=1, groups=groups).plan(50)
    assert not (groups[plan.support] == groups[plan.query]).any()


def test_a_plan_is_saved_and_loaded(tmp_path):
    plan = EpisodeSampler(torch.arange(4).repeat_interleave(5), way=3, shot=2, query=1).plan(10)
    plan.save(tmp_path / "plan.npz")
    again = EpisodePlan.load(tmp_path / "plan.npz")
    assert again.digest == plan.digest
    assert torch.equal(again.support, plan.support)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.npz"]


def test_a_file_without_a_plan_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no plan")
    np.savez(tmp_path / "other.npz", classes=np.zeros((1, 2), np.int64))
    np.savez(tmp_path / "objects.npz", classes=np.array([{}], dtype=object))
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("text.npz", "other.npz", "objects.npz", "array.npy"):
        with pytest.raises(EpisodeError, match="holds no episode plan"):
            EpisodePlan.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        EpisodePlan.load(tmp_path / "missing.npz")


def test_ten_thousand_episodes_are_planned_in_a_moment():
    sampler = EpisodeSampler(torch.arange(24).repeat_interleave(100), way=5, shot=5, query=1)
    start = time.process_time()
    sampler.plan(10_000)
    assert time.process_time() - start < 2
