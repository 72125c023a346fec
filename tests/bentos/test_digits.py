"""Digits: whatever picture of one digit is sent, the network sees the same thing; and training repeats itself."""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFile

from bentos import contract
from bentos.contract import PayloadError
from bentos.digits.ink import centre
from bentos.digits.model import MODEL, preprocess
from bentos.digits.picture import read_grey

ROOT = Path(__file__).parents[2]
RANDOM = np.random.default_rng(0)


def seven(size: int = 112, width: int = 10) -> Image.Image:
    """A light seven on black, as a person would draw it."""
    picture = Image.new("L", (size, size))
    line = [(size * 0.3, size * 0.22), (size * 0.68, size * 0.2), (size * 0.45, size * 0.8)]
    ImageDraw.Draw(picture).line(line, fill=255, width=width, joint="curve")
    return picture


def sent(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def seen(picture: Image.Image, kind: str = "PNG", **options: object) -> np.ndarray:
    return preprocess(sent(picture, kind, **options))[0]


def inverted(picture: Image.Image) -> Image.Image:
    return picture.point(lambda value: 255 - value)


def alike(found: np.ndarray, picture: np.ndarray) -> bool:
    """The same drawing but for resampling and one pixel's shift: a mean difference of four hundredths."""
    assert found.shape == (1, 28, 28) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    shifted = (np.roll(found, shift, (1, 2)) for shift in itertools.product((-1, 0, 1), repeat=2))
    return min(float(np.abs(one - picture).mean()) for one in shifted) < 0.04


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    return seen(seven())


def on_transparency(ink: int) -> Image.Image:
    shape = seven()
    return Image.merge("LA", (Image.new("L", shape.size, ink), shape)).convert("RGBA")


def deep(low: int, high: int) -> Image.Image:
    values = low + np.asarray(seven(), np.float64) / 255 * (high - low)
    return Image.fromarray(values.astype(np.uint16))


def photographed() -> Image.Image:
    """Dark ink on paper, lit from one side, grainy."""
    ink = np.asarray(seven(400, 36), np.float64) / 255
    light = np.linspace(0.95, 0.6, 400)[:, None] - 0.1 * np.linspace(0, 1, 400) ** 2
    values = light * (1 - 0.7 * ink) + np.random.default_rng(1).normal(0, 0.02, ink.shape)
    return Image.fromarray((values * 255).clip(0, 255).astype(np.uint8))


def off_centre(size: tuple[int, int], corner: tuple[int, int]) -> Image.Image:
    picture = Image.new("L", size)
    picture.paste(seven(), corner)
    return picture


def dusty() -> Image.Image:
    picture = off_centre((300, 300), (90, 90))
    ImageDraw.Draw(picture).point([(4, 4), (290, 20), (15, 280)], fill=255)
    return picture


VARIANTS = {
    "dark on light": lambda: inverted(seven()),
    "rgb": lambda: seven().convert("RGB"),
    "blue ink on yellow paper": lambda: Image.composite(
        Image.new("RGB", (112, 112), "navy"), Image.new("RGB", (112, 112), "khaki"), seven()
    ),
    "black ink on transparency": lambda: on_transparency(0),
    "white ink on transparency": lambda: on_transparency(255),
    "opaque rgba": lambda: inverted(seven()).convert("RGBA"),
    "grey and alpha": lambda: on_transparency(30).convert("LA"),
    "palette": lambda: inverted(seven()).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE),
    "one bit": lambda: seven().convert("1"),
    "16 bits": lambda: deep(0, 65535),
    "16 bits of little contrast": lambda: deep(30000, 36000),
    "low contrast": lambda: seven().point(lambda value: 100 + value // 12),
    "off centre": lambda: off_centre((400, 300), (270, 10)),
    "large": lambda: seven(1000, 89),
    "small": lambda: seven().resize((40, 40), Image.Resampling.LANCZOS),
    "dusty": dusty,
    "photographed": photographed,
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_however_it_is_drawn_the_network_sees_the_same(variant: str, plain: np.ndarray) -> None:
    assert alike(seen(VARIANTS[variant]()), plain)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_every_stated_format_is_read(kind: str, plain: np.ndarray) -> None:
    assert alike(seen(inverted(seven()).convert("RGB"), kind), plain)


def test_cmyk_and_32_bit_files_are_read(plain: np.ndarray) -> None:
    assert alike(seen(inverted(seven()).convert("RGB").convert("CMYK"), "JPEG"), plain)
    assert alike(seen(Image.fromarray(np.asarray(seven(), np.float32) / 255), "TIFF"), plain)


def on_ground(ink: int, ground: int) -> np.ndarray:
    return np.asarray(seven().point(lambda value: round(ground + (ink - ground) * value / 255)))


def cut_out(ink: int, ground: int, transparent: str) -> Image.Image:
    """With alpha 0 or 255, and black beneath what is transparent, as many programs save it."""
    shape = np.asarray(seven())
    alpha = (shape > 40) if transparent == "ground" else (shape < 215)
    grey = np.where(alpha, on_ground(ink, ground), 0).astype(np.uint8)
    return Image.merge("RGBA", [Image.fromarray(grey)] * 3 + [Image.fromarray(alpha).convert("L")])


@pytest.mark.parametrize("transparent", ["ground", "ink"])
@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (255, 0), (80, 255), (80, 0), (255, 150), (0, 150)])
def test_hard_alpha_is_read_whichever_is_transparent(
    ink: int, ground: int, transparent: str, plain: np.ndarray
) -> None:
    assert alike(seen(cut_out(ink, ground, transparent)), plain)
    assert alike(seen(cut_out(ink, ground, transparent), "WEBP", lossless=True), plain)


@pytest.mark.parametrize("transparent", [0, 255])
@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("size", [28, 112, 700])
@pytest.mark.parametrize(("mode", "kind"), [("L", "PNG"), ("P", "PNG"), ("L", "GIF"), ("P", "GIF")])
def test_one_transparent_grey_is_read_whichever_it_is(
    mode: str, kind: str, size: int, ink: int, transparent: int
) -> None:
    picture = seven().resize((size, size), Image.Resampling.BICUBIC)
    opaque = seen(picture)
    picture = picture if ink else inverted(picture)
    assert alike(seen(picture.convert(mode), kind, transparency=transparent), opaque[0])


def test_one_transparent_grey_of_16_bits_is_read(plain: np.ndarray) -> None:
    assert alike(seen(deep(65535, 0), transparency=65535), plain)


def test_a_drawing_on_nothing_keeps_its_shape_whatever_its_inks(plain: np.ndarray) -> None:
    greys = np.tile(np.linspace(0, 255, 112).astype(np.uint8), (112, 1))
    assert alike(seen(Image.merge("LA", (Image.fromarray(greys), seven()))), plain)


def test_paper_left_in_a_loop_is_paper() -> None:
    picture = Image.new("LA", (112, 112))
    ImageDraw.Draw(picture).ellipse((30, 20, 80, 90), fill=(255, 255), outline=(0, 255), width=10)
    assert seen(picture)[0, 14, 14] < 0.1


def test_a_card_in_the_middle_of_nothing_is_the_paper(plain: np.ndarray) -> None:
    card = Image.new("RGBA", (200, 220))
    card.paste(inverted(seven()).convert("RGBA"), (40, 50))
    assert alike(seen(card), plain)


@pytest.mark.parametrize("bits", [1, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_fewer_bits_in_a_file_of_16_are_read(bits: int, kind: str, plain: np.ndarray) -> None:
    assert alike(seen(deep(0, 2**bits - 1), kind), plain)
    assert alike(seen(deep(2**bits - 1, 0), kind), plain)


@pytest.mark.parametrize("bits", [8, 10, 16, 24, 31])
@pytest.mark.parametrize("lowest", [0, -500])
def test_whole_numbers_of_32_bits_are_read(bits: int, lowest: int, plain: np.ndarray) -> None:
    values = np.asarray(seven(), np.float64) / 255 * (2**bits - 1) + lowest
    assert alike(seen(Image.fromarray(values.astype(np.int32)), "TIFF"), plain)


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "I;16"])
def test_strips_give_what_the_whole_picture_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    large = deep(0, 65535).resize((1001, 1001)) if mode == "I;16" else inverted(seven(1001, 90)).convert(mode)
    whole = read_grey(sent(large))
    monkeypatch.setattr("bentos.digits.picture.STRIP_PIXELS", 1)
    assert whole.shape == (251, 251)
    assert (read_grey(sent(large)) == whole).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB", "P", "L", "1"])
def test_a_large_picture_is_in_memory_once(mode: str, tmp_path: Path) -> None:
    """Peak memory above what its own decoded pixels take, in a process of its own."""
    side = 3000
    file = tmp_path / "large.png"
    picture = inverted(seven(side, 260))
    if mode in ("RGBA", "LA"):
        picture.putalpha(seven(side, 260))
    picture.convert(mode).save(file, compress_level=1)
    decoded = side * side * (4 if mode in ("RGBA", "LA", "RGB") else 1) / 2**20
    assert peak_mib(file) < decoded + 25


def peak_mib(file: Path) -> float:
    """What reading a picture adds to a process that has read a small one."""
    code = """if True:
        import resource, sys
        from pathlib import Path
        from bentos.digits.picture import read_grey
        read_grey(Path(sys.argv[1]).read_bytes())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        read_grey(Path(sys.argv[2]).read_bytes())
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    small = contract.BENTOS / "digits" / "examples" / "seven.png"
    output = subprocess.run([sys.executable, "-c", code, small, file], cwd=ROOT, capture_output=True, check=True)
    return float(output.stdout)


ASKEW = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("tag", "undo"), [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)]
)
def test_a_camera_held_askew_is_turned_upright(kind: str, tag: int, undo: Image.Transpose, plain: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    assert alike(seen(inverted(seven()).transpose(undo), kind, exif=exif), plain)


def test_what_mnist_looks_like_comes_out_unchanged(plain: np.ndarray) -> None:
    pixels = np.rint(plain[0] * 255).astype(np.uint8)
    assert np.abs(seen(Image.fromarray(pixels)) - pixels / 255).max() < 0.02


def test_the_digit_fits_its_box_around_its_centre_of_mass(plain: np.ndarray) -> None:
    rows, columns = (np.flatnonzero((plain[0] > 0.1).any(axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20, 21)
    grid = np.arange(28)
    for axis in (1, 0):
        assert abs(plain[0].sum(axis) @ grid / plain.sum() - 13.5) <= 0.6


def test_a_tight_crop_is_read_as_the_whole_picture(plain: np.ndarray) -> None:
    picture = seven()
    assert alike(seen(picture.crop(picture.getbbox())), plain)


def test_a_drawn_frame_and_the_desk_beyond_the_paper_are_left_out(plain: np.ndarray) -> None:
    framed, desk = inverted(seven(224, 20)), photographed()
    ImageDraw.Draw(framed).rectangle((0, 0, 223, 223), outline=0, width=3)
    ImageDraw.Draw(desk).rectangle((0, 0, 25, 399), fill=40)
    assert alike(seen(framed), plain)
    assert alike(seen(desk), plain)


def test_hairlines_stay_visible() -> None:
    assert seen(seven(1000, 4)).max() > 0.7


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (3, 900), (600, 600)])
@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_a_blank_picture_is_refused(shape: tuple[int, int], mode: str) -> None:
    with pytest.raises(PayloadError, match="no digit found"):
        seen(Image.new(mode, shape))


def test_grainy_paper_without_ink_is_refused() -> None:
    paper = RANDOM.normal(180, 5, (300, 300)).clip(0, 255).astype(np.uint8)
    with pytest.raises(PayloadError, match="no digit found"):
        seen(Image.fromarray(paper))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"seven", "no picture"),
        (sent(seven())[:60], "broken or truncated PNG"),
        (sent(seven(400, 30), "JPEG")[:-900], "broken or truncated JPEG"),
        (b"%PDF-1.7", "no picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_is_allowed(data: bytes, words: str) -> None:
    with pytest.raises(PayloadError, match=words) as error:
        preprocess(data)
    assert "PNG, JPEG, GIF, BMP, WEBP, TIFF or PPM" in str(error.value)


@pytest.mark.parametrize("side", [5001, 12_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_small_file_of_too_many_pixels_is_refused_unread(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = sent(Image.new("L", (1, 1)))
    loads: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", loads.append)
    with pytest.raises(PayloadError, match="pixels"):
        preprocess(bomb[:16] + header + crc(b"IHDR" + header) + bomb[33:])
    assert not loads


def crc(chunk: bytes) -> bytes:
    import zlib

    return struct.pack(">I", zlib.crc32(chunk))


def test_quantities_are_one_figure_a_row() -> None:
    batch = RANDOM.random((5, 1, 28, 28), np.float32)
    found = MODEL.watched({"image": batch})
    assert set(found) == {"brightness", "contrast", "ink"}
    assert all(values.shape == (5,) for values in found.values())
    assert found["ink"][0] == pytest.approx((batch[0] > 0.5).mean())


def test_centring_without_ink_finds_nothing() -> None:
    assert centre(np.zeros((50, 50), np.float32)) is None


def test_examples_are_small_pictures_that_preprocess() -> None:
    folder = contract.BENTOS / "digits"
    names = contract.examples("digits")
    assert len(names) == 10
    for name in names:
        assert (folder / name).stat().st_size < 4000
        preprocess((folder / name).read_bytes())


def idx_file(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder: Path, rows: int = 6, dotted: bool = False, zipped: bool = False) -> None:
    pixels = np.stack([np.asarray(seven(28, 3))] * rows)
    for part, what in itertools.product(("train", "t10k"), ("images", "labels")):
        content = idx_file(pixels if what == "images" else np.arange(rows).astype(np.uint8))
        name = f"{part}-{what}{'.' if dotted else '-'}idx{3 if what == 'images' else 1}-ubyte"
        (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)


class TestMnistFiles:
    @pytest.fixture(autouse=True)
    def _needs_torch(self) -> None:
        pytest.importorskip("torch")

    @pytest.mark.parametrize("dotted", [False, True])
    @pytest.mark.parametrize("zipped", [False, True])
    def test_every_spelling_is_read(self, tmp_path: Path, dotted: bool, zipped: bool) -> None:
        write_mnist(tmp_path, dotted=dotted, zipped=zipped)
        data = contract.recipe("digits").load({"mnist-dir": str(tmp_path)})
        assert data.train.inputs.shape == (6, 1, 28, 28) and data.train.inputs.dtype == np.float32
        assert data.held_out.targets.tolist() == [0, 1, 2, 3, 4, 5]
        assert data.train.inputs.max() == 1
        assert "MNIST" in data.source

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("train-images-idx3-ubyte", None, "has none of train-images-idx3-ubyte"),
            ("train-images-idx3-ubyte", b"\0\0\x08", "truncated"),
            ("train-images-idx3-ubyte", idx_file(np.zeros((6, 28, 28), np.uint8))[:-5], "truncated"),
            (
                "train-images-idx3-ubyte",
                idx_file(np.zeros((6, 28), np.uint8)) + bytes(99),
                "magic number is 0x00000802",
            ),
            ("train-images-idx3-ubyte", idx_file(np.zeros((6, 27, 28), np.uint8)), "27 × 28"),
            ("train-labels-idx1-ubyte", idx_file(np.zeros(5, np.uint8)), "5 labels"),
            ("t10k-labels-idx1-ubyte", idx_file(np.full(6, 11, np.uint8)), "label 11"),
        ],
    )
    def test_a_fault_is_named_with_its_file(self, tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
        write_mnist(tmp_path)
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words) as error:
            contract.recipe("digits").load({"mnist-dir": str(tmp_path)})
        assert str(tmp_path) in str(error.value)

    def test_a_broken_gzip_is_named(self, tmp_path: Path) -> None:
        write_mnist(tmp_path, zipped=True)
        file = tmp_path / "t10k-images-idx3-ubyte.gz"
        file.write_bytes(file.read_bytes()[:40])
        with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz: cannot be read"):
            contract.recipe("digits").load({"mnist-dir": str(tmp_path)})


@pytest.fixture(scope="module")
def data() -> contract.Data:
    pytest.importorskip("torch")
    return contract.recipe("digits").load({})


class TestRecipe:
    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("torch")
        from bentos.digits import recipe

        for part in ("BY_OTHER_HANDS", "BY_OTHER_PENS", "WRITTEN"):
            monkeypatch.setattr(recipe, part, 500)
        monkeypatch.setattr(recipe, "EPOCHS", 1)

    def test_the_digits_are_split_by_class_and_always_alike(self, data: contract.Data) -> None:
        assert len(data.train.inputs) + len(data.held_out.inputs) == 1797
        assert data.train.inputs.shape[1:] == (1, 28, 28) and data.train.inputs.dtype == np.float32
        assert np.ptp(np.bincount(data.held_out.targets)) <= 3
        again = contract.recipe("digits").load({})
        assert (again.held_out.inputs == data.held_out.inputs).all()

    def test_the_same_seed_gives_the_same_weights_and_another_does_not(self, data: contract.Data) -> None:
        recipe = contract.recipe("digits")
        few = contract.Split(data.train.inputs[:300], data.train.targets[:300])
        small = contract.Data(few, data.held_out, data.source)
        once, twice, other = (recipe.fit(small, seed, lambda steps, _: steps).state_dict() for seed in (3, 3, 4))
        assert all((once[name] == twice[name]).all() for name in once)
        assert any((once[name] != other[name]).any() for name in once)

    def test_a_minute_of_training_in_miniature_already_learns(
        self, data: contract.Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import torch

        monkeypatch.setattr("bentos.digits.recipe.EPOCHS", 3)
        recipe = contract.recipe("digits")
        network = recipe.fit(data, 0, lambda steps, _: steps)
        assert not network.training
        with torch.no_grad():
            outputs = {"logits": network(torch.from_numpy(data.held_out.inputs)).numpy()}
        assert recipe.score(data.held_out.targets, outputs)["accuracy"] > 0.7

    def test_drawing_again_is_seeded_and_varied(self) -> None:
        import torch

        from bentos.digits import strokes

        fields = strokes.distances(np.stack([np.asarray(seven(28, 3), np.float32) / 255] * 4))
        ones = torch.zeros(4, dtype=torch.bool)

        def again(seed: int) -> np.ndarray:
            random = torch.Generator().manual_seed(seed)
            return strokes.redraw(fields, random, strokes.other_hands(ones, random))

        assert (again(1) == again(1)).all()
        assert np.abs(again(1) - again(2)).mean() > 0.01
        assert np.abs(again(1)[0] - again(1)[1]).mean() > 0.01

    def test_unfolding_keeps_the_ink_of_each_block(self) -> None:
        from sklearn.datasets import load_digits

        from bentos.digits import strokes

        counts = load_digits().images[:20] / 16
        blocks = strokes.unfold(counts).reshape(20, 10, 8, 10, 8).mean((2, 4))[:, 1:-1, 1:-1]
        assert np.abs(blocks - counts).mean() < 0.01

    def test_a_seven_loses_its_bar_and_nothing_else(self) -> None:
        from bentos.digits import strokes

        without = np.asarray(seven(28, 3), np.float32) / 255
        barred = without.copy()
        barred[13:15, 7:21] = 1
        assert strokes.unbar(barred[None])[0][13:15, 7:10].max() == 0
        assert np.abs(strokes.unbar(barred[None])[0] - without).mean() < 0.02
