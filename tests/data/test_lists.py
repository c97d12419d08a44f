"""Lists of other code bases: told by their content, checked line by line, and their traps named."""

import json
import re
import shutil
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import REAL, classes, clip_id, in_folders, named, numbered, write_lists

from openfsar.data.lists import ListError, choose_lists, read_list
from openfsar.data.lists.formats import INDEXED, KINETICS, NAMED, SSV2, SSV2_LABELS
from openfsar.data.lists.known import findings
from openfsar.data.naming import find_class, loose, read_name
from openfsar.data.splits import BENCHMARKS, SPLITS, load_split, read_facts

real = pytest.mark.skipif(not REAL.is_dir(), reason="the published lists are not at hand")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def topics(selection) -> dict[str, str]:
    return {finding.topic: finding.text for finding in selection.findings}


# The facts


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_facts_of_a_benchmark_fit_together(benchmark):
    facts = read_facts(benchmark)
    for split in SPLITS:
        about = load_split(benchmark, split)
        assert len(about.videos) == len(about.classes)
        assert len(about.prompts) == (0 if split == "val" else len(about.classes))
        for known in facts["lists"].values():
            assert len(known[split]) == len(set(known[split])) == len(about.classes)
        for prompt, label in zip(about.prompts, about.classes, strict=False):
            assert find_class(benchmark, prompt) == (split, label)


@pytest.mark.parametrize(
    ("benchmark", "counts"),
    [
        ("ssv2-full", (67_013, 1_926, 2_857)),
        ("ssv2-small", (6_400, 1_200, 2_400)),
        ("kinetics-100", (6_400, 1_200, 2_400)),
        ("ucf101", (9_154, 1_421, 2_745)),
        ("hmdb51", (4_280, 1_194, 1_292)),
    ],
)
def test_the_numbers_of_videos_are_the_published_ones(benchmark, counts):
    assert tuple(sum(load_split(benchmark, split).videos) for split in SPLITS) == counts


def test_prompts_keep_the_slips_that_were_published():
    ucf = load_split("ucf101", "train")
    assert ucf.prompts[ucf.classes.index("BlowDryHair")] == "Blow DryHair"
    assert load_split("ssv2-full", "train").prompts[0] == "Bending [something] until it breaks"
    assert {"draw_sword", "brush hair"} <= set(load_split("hmdb51", "train").prompts)


# Names


@pytest.mark.parametrize(
    ("benchmark", "name", "key"),
    [
        ("ssv2-full", "20bn/078687.WEBM", "78687"),
        ("ssv2-small", "78687", "78687"),
        ("ssv2-full", "78687.webm.mp4", "78687"),
        ("ssv2-full", "78687b.webm", None),
        ("kinetics-100", "val_256/baking_cookies/-514AQUrSow.mp4", "-514AQUrSow"),
        ("kinetics-100", "zGuJDtD_OL0_000037_000047.mp4.mkv", "zGuJDtD_OL0"),
        ("kinetics-100", "v_zGuJDtD_OL0_37.0_47.0", "zGuJDtD_OL0"),
        ("kinetics-100", "v_zGuJDtD_O.mp4", "v_zGuJDtD_O"),
        ("kinetics-100", "zGuJDtD_OL.mp4", None),
        ("ucf101", "v_HandStandPushups_g1_c01.avi", "v_handstandpushups_g01_c01"),
        ("ucf101", "HandStandPushups_g01_c01.avi", None),
        ("hmdb51", "winKen_wave_u_cm_np1_ri_bad_1.avi", "winken_wave_u_cm_np1_ri_bad_1"),
        ("hmdb51", "winKen_wave.avi", None),
    ],
)
def test_a_video_is_told_by_its_key_wherever_it_lies(benchmark, name, key):
    found = read_name(benchmark, name)
    assert (found and found.key) == key


def test_names_tell_class_recording_and_cut_where_they_hold_them():
    film = "Trannydude___no_Knots!_brush_hair_u_nm_np1_fr_goo_1.avi"
    assert read_name("hmdb51", film)[1:] == ("brush_hair", "", "trannydude___no_knots!")
    assert read_name("hmdb51", "a_kick_ball_f_cm_np1_le_med_0")[1] == "kick_ball"  # not kick, not ball
    assert read_name("ucf101", "v_handstandpushups_g03_c1")[1:] == (
        "HandstandPushups", "", "handstandpushups_g03",
    )  # fmt: skip
    assert read_name("kinetics-100", "zGuJDtD_OL0_000037_000047")[1:] == ("", "37-47", "")


@given(st.sampled_from(BENCHMARKS), st.data())
def test_a_class_is_found_however_its_name_is_written(benchmark, data):
    split = data.draw(st.sampled_from(SPLITS))
    label = data.draw(st.sampled_from(classes(benchmark, split)))
    change = data.draw(st.sampled_from([str.upper, str.lower, lambda s: s.replace(" ", "_"), str.strip]))
    assert find_class(benchmark, change(label.replace("something", "[something]"))) == (split, label)


def test_loose_keys_forget_what_a_file_system_may_not_like():
    assert (
        loose("Re-_Show_your_Smile!_4") == loose("re__show_your_smile__4") != loose("re_show_your_smile_14")
    )


# Formats


def test_a_numbered_list_is_told_by_its_lines_and_keeps_their_numbers(tmp_path):
    found = read_list(
        write(tmp_path / "x", "\ufefftrain8/78687\r\n\n train50/42326 \nrubbish\nval0//a/b.mp4\n")
    )
    assert found.format == INDEXED
    assert [tuple(video) for video in found.videos] == [
        ("train", "8", "78687", 1), ("train", "50", "42326", 3), ("val", "0", "a/b.mp4", 5),
    ]  # fmt: skip
    (fault,) = found.faults
    assert str(fault) == f"{tmp_path / 'x'}, line 4: 'rubbish' is not of the form train8/78687"
    assert "train8/78687 is video 78687, of class 8 of split train" in str(found.format)


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("test.list", "test"), ("trainlist07.txt", "train"), ("val_few_shot.txt", "val"),
        ("validation.txt", "val"), ("all.txt", ""), ("train_and_val.txt", ""),
    ],
)  # fmt: skip
def test_a_named_list_has_the_split_that_its_file_is_named_after(tmp_path, file, split):
    text = "air drumming/-VtLx-mcPds_000012_000022\nvideos/walk/(a)_b!.avi\nno slash\n"
    found = read_list(write(tmp_path / file, text))
    assert found.format == NAMED
    assert [video[:3] for video in found.videos] == [
        (split, "air drumming", "-VtLx-mcPds_000012_000022"), (split, "walk", "(a)_b!.avi"),
    ]  # fmt: skip
    assert [(fault.line, "class/video" in fault.reason) for fault in found.faults] == [(3, True)]


def test_official_annotations_of_something_something_lose_their_brackets(tmp_path):
    entries = [
        {"id": "78687", "label": "holding potato", "template": "Holding [something]", "placeholders": []},
        {"id": "1", "label": "no template"},
        {"template": "Holding [something]"},
        "rubbish",
    ]
    found = read_list(write(tmp_path / "something-something-v2-validation.json", json.dumps(entries)))
    assert found.format == SSV2
    assert [tuple(video) for video in found.videos] == [("val", "Holding something", "78687", 1)]
    assert [fault.line for fault in found.faults] == [2, 3, 4]
    test = read_list(write(tmp_path / "test.json", json.dumps([{"id": "9"}])))
    assert [tuple(video) for video in test.videos] == [("test", "", "9", 1)]
    labels = read_list(
        write(tmp_path / "labels.json", '{"Holding [something]": "1", "Closing [something]": "0"}')
    )
    assert (labels.format, labels.classes) == (SSV2_LABELS, ("Closing something", "Holding something"))


def test_official_annotations_of_kinetics_name_videos_by_id_and_seconds(tmp_path):
    text = (
        "label,youtube_id,time_start,time_end,split\n"
        '"hurling (sport)",zGuJDtD_OL0,37,47,validate\n'
        "unboxing,1C3pJtF0byM,66.0,76.0,train\n"
        "unboxing,1C3pJtF0byM,soon,later,train\n"
        "unboxing,1C3pJtF0byM,1,2,somewhere\n"
    )
    found = read_list(write(tmp_path / "any.csv", text))
    assert found.format == KINETICS
    assert [tuple(video) for video in found.videos] == [
        ("val", "hurling (sport)", "zGuJDtD_OL0_000037_000047", 2),
        ("train", "unboxing", "1C3pJtF0byM_000066_000076", 3),
    ]
    assert [fault.line for fault in found.faults] == [4, 5]
    bare = read_list(write(tmp_path / "test.csv", "youtube_id,time_start,time_end\nzGuJDtD_OL0,1,11\n"))
    assert bare.videos[0][:2] == ("test", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("78687 54 19\n", "first line is '78687 54 19'. Known are: numbered list .* named list"),
        ("Archery/v_Archery_g01_c01.avi 3\nArchery/v_Archery_g01_c02.avi 3\n", "official split of UCF101"),
        ("winKen_wave_u_cm_np1_ri_bad_1.avi 1\n", "official split of UCF101 or HMDB51"),
        ("[1,", "no valid JSON"),
        ('{"a": "b"}', "is JSON, but neither official annotation of Something"),
    ],
)
def test_what_is_no_list_is_refused_with_the_forms_that_are(tmp_path, text, message):
    with pytest.raises(ListError, match=message):
        read_list(write(tmp_path / "list.txt", text))


def test_what_is_no_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "video.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42\xff\xfe")
    with pytest.raises(ListError, match="not UTF-8 text"):
        read_list(tmp_path / "video.mp4")
    with pytest.raises(ListError, match="cannot be read"):
        read_list(tmp_path / "nowhere")
    with pytest.raises(ListError, match="nowhere does not exist"):
        choose_lists(tmp_path / "nowhere", "hmdb51")


# From lists to a benchmark


def test_lists_of_a_benchmark_are_found_among_others(tmp_path):
    write_lists(tmp_path / "small", "ssv2-small", named, str, name="{}.list")
    write_lists(tmp_path / "k100", "kinetics-100", named, clip_id)
    write(tmp_path / "requirements.txt", "numpy\n")
    found = choose_lists(tmp_path, "kinetics-100")
    assert {path.parent.name for path in found.sources} == {"k100"} and not found.faults
    assert len(found.videos) == 200 and found.videos[0].label == classes("kinetics-100", "train")[0]
    assert choose_lists(tmp_path, "ssv2-small").sources[0].parent.name == "small"
    assert choose_lists(tmp_path / "k100" / "test.txt", "kinetics-100").videos[0].split == "test"
    with pytest.raises(
        ListError, match="no lists of ssv2-full: .*small.*is not ssv2-full.*Give the lists that CMN"
    ):
        choose_lists(tmp_path, "ssv2-full")  # though some of its classes bear the same names


def test_lists_of_two_forms_that_agree_are_one(tmp_path):
    write_lists(tmp_path / "a", "kinetics-100", named, clip_id)
    write_lists(tmp_path / "b", "kinetics-100", in_folders, clip_id)
    assert len(choose_lists(tmp_path, "kinetics-100").videos) == 200
    test = tmp_path / "b" / "test.txt"
    test.write_text(test.read_text().replace(clip_id(160)[:8], "replaced"))
    with pytest.raises(
        ListError,
        match=r"other videos: .*/a: 200 videos; .*/b: 200 videos \(without 0 of train, 0 of val, 10 of test",
    ):
        choose_lists(tmp_path, "kinetics-100")


def test_the_hash_names_the_choice_and_not_the_files(tmp_path):
    one = choose_lists(write_lists(tmp_path / "a", "kinetics-100", named, clip_id), "kinetics-100")
    other = choose_lists(
        write_lists(tmp_path / "b", "kinetics-100", in_folders, lambda i: clip_id(i)[:11]), "kinetics-100"
    )
    fewer = choose_lists(tmp_path / "a" / "test.txt", "kinetics-100")
    assert one.hash == other.hash != fewer.hash and len(one.hash) == 16


def test_wrong_lines_are_left_out_with_file_and_number(tmp_path):
    folder = write_lists(tmp_path, "kinetics-100", named, clip_id, splits=["test", "val"])
    file = folder / "test.txt"
    lines = file.read_text().splitlines()
    train = classes("kinetics-100", "train")[0]
    file.write_text(
        "\n".join([*lines, lines[0], f"{train}/zGuJDtD_OL0", "eating/zGuJDtD_OL1", "busking/x", "?"])
    )
    found = choose_lists(folder, "kinetics-100")
    assert len(found.videos) == 72
    said = {fault.line - len(lines): str(fault) for fault in found.faults}
    assert f"{file}, line 49: -00000000_A stands in {file}, line 1 already" == said[1]
    assert f"{train!r} is a class of split train, not of test" in said[2]
    assert "kinetics-100 has no class 'eating'" in said[3]
    assert "'x' is not what kinetics-100 calls a video" in said[4]
    assert "'?' is not of the form class/video" in said[5]


def test_a_number_beyond_the_classes_is_a_wrong_line(tmp_path):
    folder = write_lists(tmp_path, "ssv2-full", numbered, lambda i: str(1000 + i), splits=["val"], each=101)
    with open(folder / "val.txt", "a") as file:
        file.write("val12/7\n")
    found = choose_lists(folder, "ssv2-full")
    assert [fault.reason for fault in found.faults] == ["ssv2-full has no class 12 in split val"]


def test_official_annotations_alone_choose_nothing(tmp_path):
    label = classes("ssv2-small", "test")[0]
    write(tmp_path / "train.json", json.dumps([{"id": "5", "template": label}]))
    with pytest.raises(
        ListError, match="have 0 of train, 0 of val, 1 of test .* a selection that they do not tell"
    ):
        choose_lists(tmp_path, "ssv2-small")


def test_missing_classes_are_counted(tmp_path):
    folder = write_lists(tmp_path, "kinetics-100", named, clip_id, splits=["test"])
    lines = (folder / "test.txt").read_text().splitlines()
    (folder / "test.txt").write_text("\n".join(lines[4:]))
    assert "2 of the 24 test classes" in topics(choose_lists(folder, "kinetics-100"))["classes"]


# Label order


def test_folders_in_the_lines_tell_the_label_order(tmp_path):
    def backwards(split: str, number: int, label: str, video: str) -> str:
        return in_folders(split, len(classes("kinetics-100", split)) - 1 - number, label, video)

    right = choose_lists(write_lists(tmp_path / "a", "kinetics-100", in_folders, clip_id), "kinetics-100")
    wrong = choose_lists(write_lists(tmp_path / "b", "kinetics-100", backwards, clip_id), "kinetics-100")
    assert right.videos == wrong.videos
    assert "label order" not in topics(right)
    said = topics(wrong)["label order"]
    assert "in 100 of 100 classes" in said and "put right here" in said and "text would be learnt" in said


def test_official_annotations_tell_the_label_order(tmp_path):
    names = classes("ssv2-small", "val")
    folder = write_lists(tmp_path, "ssv2-small", numbered, str, splits=["val"])
    assert "nothing confirms it for 12 of 12" in topics(choose_lists(folder, "ssv2-small"))["label order"]
    entries = [{"id": str(i), "template": names[(i // 2 + 1) % 12]} for i in range(24)]
    write(tmp_path / "train.json", json.dumps(entries))
    found = choose_lists(folder, "ssv2-small")
    assert {(video.label, video.key) for video in found.videos} == {(e["template"], e["id"]) for e in entries}
    assert f"val0 is {names[1]!r}, there {names[0]!r}" in topics(found)["label order"]
    write(tmp_path / "train.json", json.dumps(entries[:20]))
    with pytest.raises(ListError, match="for 2 classes nothing tells it. Add the official annotations"):
        choose_lists(folder, "ssv2-small")


@pytest.mark.parametrize("order", list(permutations(range(3)))[2:4], ids=str)
@real
def test_the_videos_themselves_tell_the_label_order(tmp_path, order):
    for split in SPLITS:
        lines = (REAL / "clipfsar" / "ssv2_small" / f"{split}_few_shot.txt").read_text().splitlines()
        swap = {f"{split}{i}": f"{split}{j}" for i, j in enumerate(order)}
        changed = ("/".join([swap.get(a, a), b]) for a, b in (line.split("/") for line in lines))
        write(tmp_path / f"{split}.txt", "\n".join(changed))
    found = choose_lists(tmp_path, "ssv2-small")
    assert found.hash == choose_lists(REAL / "cmn" / "smsm-100", "ssv2-small").hash
    moved = 3 * sum(i != j for i, j in enumerate(order))
    assert f"in {moved} of 100 classes" in topics(found)["label order"]
    assert "video for video" in topics(found)["lists"]


# The lists in circulation


@real
@pytest.mark.parametrize(
    ("benchmark", "known", "folder", "form"),
    [
        ("hmdb51", "arn", "clipfsar/hmdb51", INDEXED),
        ("hmdb51", "arn", "fsar_lib/hmdb_ARN", NAMED),
        ("ucf101", "arn", "clipfsar/ucf101", INDEXED),
        ("ucf101", "arn", "fsar_lib/ucf_ARN", NAMED),
        ("ssv2-small", "cmn", "clipfsar/ssv2_small", INDEXED),
        ("ssv2-small", "cmn", "cmn/smsm-100", NAMED),
        pytest.param("ssv2-full", "otam", "clipfsar/ssv2_full", INDEXED, marks=pytest.mark.slow),
        ("kinetics-100", "clip-fsar", "clipfsar/kinetics100", INDEXED),
        ("kinetics-100", "cmn", "cmn/kinetics-100", NAMED),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name.replace(" ", "-"),
)
def test_published_lists_are_read_whole_and_known(benchmark, known, folder, form):
    found = choose_lists(REAL / folder, benchmark)
    assert found.format == form and not found.faults
    assert found.hash == read_facts(benchmark)["lists"][known]["hash"]
    counts = {
        place: 0 for split in SPLITS for place in ((split, label) for label in classes(benchmark, split))
    }
    for video in found.videos:
        counts[video.split, video.label] += 1
    assert list(counts.values()) == [n for split in SPLITS for n in load_split(benchmark, split).videos]
    said = topics(found)
    assert "label order" not in said and "classes" not in said
    if benchmark == "kinetics-100":
        assert said["replaced clips"].startswith(
            f"these are {read_facts(benchmark)['lists'][known]['about']}"
        )
    else:
        assert said["lists"].startswith("video for video")


@real
def test_replaced_clips_are_counted_where_both_lists_are_there(tmp_path):
    for folder in ("cmn/kinetics-100", "clipfsar/kinetics100"):
        shutil.copytree(REAL / folder, tmp_path / folder)
    with pytest.raises(ListError, match="without 179 of train, 41 of val, 57 of test of the former"):
        choose_lists(tmp_path, "kinetics-100")


@real
def test_a_list_of_neither_kind_is_called_so(tmp_path):
    for split in SPLITS:
        text = (REAL / "cmn" / "kinetics-100" / f"{split}.list").read_text()
        write(tmp_path / f"{split}.list", text.replace("zGuJDtD_OL0", "zGuJDtD_OL1"))
    said = topics(choose_lists(tmp_path, "kinetics-100"))["replaced clips"]
    assert (
        "neither CMN's nor CLIP-FSAR's" in said and "train: 64 of 64, val: 12 of 12, test: 23 of 24" in said
    )


@real
@pytest.mark.slow
def test_the_whole_training_list_is_known_by_its_beginning(tmp_path):
    lines = (REAL / "clipfsar" / "ssv2_full" / "train_few_shot.txt").read_text().splitlines()
    more = [f"train{i % 64}/{900_000 + i}" for i in range(77_500 - 67_013)]
    whole = choose_lists(write(tmp_path / "train.txt", "\n".join(lines + more)), "ssv2-full")
    assert len(whole.videos) == 77_500
    assert "label order" not in topics(whole)
    swap = {"train0": "train1", "train1": "train0"}
    swapped = ("/".join([swap.get(a, a), b]) for a, b in (line.split("/") for line in lines + more))
    other = choose_lists(write(tmp_path / "train.txt", "\n".join(swapped)), "ssv2-full")
    assert "in 2 of 64 classes" in topics(other)["label order"] and other.hash == whole.hash


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (67_013, "the first lines of a list of 77,500 .* 86% of what was meant"),
        (77_500, "ends after 67,013 lines, .* 16% more training videos"),
        (60_000, "the two in circulation have 67,013 and 77,500"),
    ],
    ids=str,
)
def test_the_length_of_the_training_list_of_ssv2_full_is_spoken_of(count, said):
    names = classes("ssv2-full", "train")
    found = findings("ssv2-full", [("train", names[i % 64], str(i)) for i in range(count)])
    assert [bool(re.search(said, finding.text)) for finding in found if finding.topic == "training list"] == [
        True
    ]
    assert all(finding.trap for finding in found if finding.topic == "training list")


def test_the_guide_has_the_hashes_that_the_facts_have():
    guide = Path(__file__).parents[2] / "docs" / "howto" / "benchmark-data.md"
    known = {about["hash"] for name in BENCHMARKS for about in read_facts(name)["lists"].values()}
    assert set(re.findall(r"`([0-9a-f]{16})`", guide.read_text("utf-8"))) == known
