"""A folder of images reads like a video."""

import pytest
import torch
from footage import number_of, picture
from PIL import Image

from openfsar.video import VideoError, probe, read_frames


def _folder(tmp_path, count=12, pattern="frame_{}.png", size=(48, 64)):
    for number in range(count):
        Image.fromarray(picture(number, *size)).save(tmp_path / pattern.format(number))
    return tmp_path


@pytest.mark.parametrize("pattern", ["frame_{}.png", "{:05d}.jpg", "v2_take{}_x.bmp"])
def test_images_are_frames_in_natural_order(pattern, tmp_path):
    folder = _folder(tmp_path, pattern=pattern)
    (folder / "notes.txt").write_text("not a frame")
    (folder / ".hidden.png").write_text("neither")
    clip = read_frames(folder, lambda count: [count - 1, 0, 2, 10, 2])
    assert [number_of(frame) for frame in clip.frames] == [11, 0, 2, 10, 2]
    torch.testing.assert_close(clip.seconds, torch.tensor([11, 0, 2, 10, 2]) / 25)
    if pattern.endswith(".png"):
        assert torch.equal(clip.frames[0], torch.from_numpy(picture(11, 48, 64)).permute(2, 0, 1))


def test_a_folder_is_probed_at_its_nominal_rate(tmp_path):
    info = probe(_folder(tmp_path, count=5))
    assert (info.frames, info.seconds, info.fps, info.width, info.height) == (5, 0.2, 25.0, 64, 48)


def test_images_shrink_to_a_short_side(tmp_path):
    assert read_frames(_folder(tmp_path), [0], short_side=24).frames.shape == (1, 3, 24, 32)


def test_images_of_any_mode_become_rgb_and_upright(tmp_path):
    Image.new("L", (6, 4), 77).save(tmp_path / "0.png")
    Image.new("RGBA", (6, 4), (10, 20, 30, 255)).save(tmp_path / "1.png")
    turned = Image.new("RGB", (4, 6), (1, 2, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "2.png", exif=exif)
    frames = read_frames(tmp_path, [0, 1, 2]).frames
    assert frames[:, :, 0, 0].tolist() == [[77, 77, 77], [10, 20, 30], [1, 2, 3]]
    assert frames.shape == (3, 3, 4, 6)


def test_bad_images_are_refused_by_name(tmp_path):
    folder = _folder(tmp_path, count=3)
    Image.new("RGB", (9, 9)).save(folder / "frame_1.png")
    with pytest.raises(VideoError, match=r"frame 1 has shape \[3, 9, 9\], others \[3, 48, 64\]"):
        read_frames(folder, [0, 1])
    (folder / "frame_1.png").write_text("no image")
    with pytest.raises(VideoError, match="frame_1.png: cannot be decoded"):
        read_frames(folder, [1])
    data = (folder / "frame_2.png").read_bytes()
    (folder / "frame_2.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match="frame_2.png: cannot be decoded"):
        read_frames(folder, [2])
    with pytest.raises(VideoError, match="frames 0..2"):
        read_frames(folder, [3])


def test_an_image_of_20000_pixels_is_refused_before_decoding(tmp_path):
    Image.new("1", (20_000, 2)).save(tmp_path / "wide.png")
    with pytest.raises(VideoError, match="20000x2 pixels"):
        probe(tmp_path)
