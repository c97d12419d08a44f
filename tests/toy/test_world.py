import itertools

import numpy as np

from openfsar.toy.captions import HELD_OUT, SCENE_CLASSES, TRAIN_ACTIONS, caption, subject
from openfsar.toy.motions import ATOMS, MOTION_CLASSES, STEPS, X, Y, act_out
from openfsar.toy.scenes import SCENES
from openfsar.toy.stills import still_pair
from openfsar.toy.world import FRAME, motion_shot, render, scene_shot

ALL_MOTIONS = [name for names in MOTION_CLASSES.values() for name in names]


def test_both_toy_sets_have_the_published_split_sizes_and_no_class_twice():
    for classes in (MOTION_CLASSES, SCENE_CLASSES):
        assert [len(classes[split]) for split in ("train", "val", "test")] == [64, 12, 24]
        names = list(itertools.chain(*classes.values()))
        assert len(set(names)) == 100


def test_there_are_at_least_twenty_atoms_and_every_reversal_is_a_class_of_the_same_split():
    assert len(ATOMS) >= 20
    for names in MOTION_CLASSES.values():
        for atom in ATOMS:
            assert (atom.name in names) == (atom.reverse in names)


def test_every_composition_comes_in_both_orders_within_one_split():
    for names in MOTION_CLASSES.values():
        for first, second in (name.split(", then ") for name in names if ", then " in name):
            assert f"{second}, then {first}" in names


def test_test_classes_hold_unseen_atoms_and_unseen_compositions():
    seen = {step for name in MOTION_CLASSES["train"] for step in name.split(", then ")}
    test = MOTION_CLASSES["test"]
    assert any(", then " not in name and name not in seen for name in test)
    assert any(", then " in name and set(name.split(", then ")) <= seen for name in test)
    assert any(", then " in name and not set(name.split(", then ")) <= seen for name in test)


def test_the_reverse_of_an_atom_is_its_exact_time_reversal():
    progress = np.linspace(0, 1, 21)
    for atom in ATOMS:
        forward = act_out(atom.name, progress, np.random.default_rng(3))
        backward = act_out(atom.reverse, progress, np.random.default_rng(3))
        for there, back in zip(forward, backward, strict=True):
            np.testing.assert_allclose(back, there[::-1], atol=1e-12, err_msg=atom.name)
        assert max(np.abs(track - track[::-1]).max() for track in forward) > 0.1, f"{atom.name}: no direction"


def test_compositions_move_without_a_jump():
    for action in (name for name in ALL_MOTIONS if ", then " in name):
        track = act_out(action, np.linspace(0, 1, 201), np.random.default_rng(1))[0]
        assert np.abs(np.diff(track[:, [X, Y]], axis=0)).max() < 0.06, action
        assert set(action.split(", then ")) <= set(STEPS), action


def test_actions_stay_mostly_inside_the_frame():
    for action in ALL_MOTIONS:
        shot = motion_shot(action, 24, np.random.default_rng(5))
        centre = shot.tracks[shot.actor][:, [X, Y]]
        assert ((centre > -0.1) & (centre < 1.1)).all(1).mean() > 0.55, action


def test_rendering_is_a_pure_function_of_the_shot():
    shots = [motion_shot("rises", 12, np.random.default_rng(7)) for _ in range(2)]
    first, second = (render(shot) for shot in shots)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (12, FRAME, FRAME, 3) and first.dtype == np.uint8


def test_the_actor_is_drawn_where_its_track_says():
    shot = scene_shot("solid square on night", 8, np.random.default_rng(2))
    lonely = type(shot)(
        **{**vars(shot), "sprites": (shot.sprites[shot.actor],), "tracks": (shot.tracks[shot.actor],)}
    )
    lonely = type(shot)(**{**vars(lonely), "actor": 0, "noise": 0.0})
    empty = type(shot)(**{**vars(lonely), "sprites": (), "tracks": ()})
    changed = np.abs(render(lonely).astype(int) - render(empty).astype(int)).sum(-1) > 30
    for frame in range(8):
        if (
            not (0.2 < lonely.tracks[0][frame, [X, Y]]).all()
            or not (lonely.tracks[0][frame, [X, Y]] < 0.8).all()
        ):
            continue
        rows, columns = changed[frame].nonzero()
        expected = lonely.tracks[0][frame, [X, Y]] * FRAME - lonely.camera[frame]
        assert abs(columns.mean() - expected[0]) < 2.5 and abs(rows.mean() - expected[1]) < 2.5


def test_scenes_differ_in_colour_or_structure():
    means = [
        render(scene_shot(f"solid star on {s}", 1, np.random.default_rng(0)))[0].mean((0, 1)) for s in SCENES
    ]
    gaps = [np.abs(a - b).max() for a, b in itertools.combinations(means, 2)]
    assert min(gaps) > 5


def test_captions_name_actions_of_training_classes_only():
    shot = motion_shot(MOTION_CLASSES["test"][0], 12, np.random.default_rng(0))
    assert subject(shot, 3).action == ""
    shot = motion_shot("rises", 12, np.random.default_rng(0))
    said = [caption(subject(shot, 3), np.random.default_rng(i)) for i in range(80)]
    assert any("that rises" in sentence for sentence in said)
    assert "rises" in TRAIN_ACTIONS and not TRAIN_ACTIONS & set(MOTION_CLASSES["test"])


def test_pre_training_never_shows_a_held_out_kind_and_can_be_asked_for_one():
    assert all(still_pair(seed)[1].kind not in HELD_OUT for seed in range(60))
    assert all(still_pair(seed, held_out=True)[1].kind in HELD_OUT for seed in range(10))
