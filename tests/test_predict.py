"""`python -m mlp predict` on pictures of every kind, and on what is none."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import warm
from fuzzing import bounded
from garments import CLASSES, SHAPE, garments, trained_model, untrained_model
from PIL import Image, ImageFilter
from project import write_idx

from mlp import pictures
from mlp.files import InputError
from mlp.module import MLP
from mlp.pictures import find_ground, prepare, read_pictures

ROOT = Path(__file__).parent.parent


def mlp(*arguments: object, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess:
    words, environ = ("python", "-m", "mlp", *map(str, arguments)), os.environ | environ
    if not stdin and warm.serves(words, environ):
        done = warm.run(words, ROOT, environ, timeout=60)
        out, err = done.stdout.encode(), done.stderr.encode()
        return subprocess.CompletedProcess(words, done.returncode, out, err)
    return subprocess.run(
        [sys.executable, *words[1:]],
        input=stdin,
        capture_output=True,
        cwd=ROOT,
        env=environ,
        timeout=60,
    )


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.npz"
    untrained_model().save_parameters(path)
    return path


@pytest.fixture
def shirt(rng) -> np.ndarray:
    """28×28: a bright T with some structure on black, eight columns narrower than high."""
    image = np.zeros(SHAPE, np.uint8)
    image[0:9, 4:24] = image[9:28, 7:21] = 1
    shade = np.add.outer(np.arange(28), np.arange(28)) * 3 + rng.integers(60, 80)
    return image * shade.astype(np.uint8)


def placed(image: np.ndarray, size: tuple[int, int], edge: int) -> Image.Image:
    """An image enlarged to `edge` pixels, somewhere on a black ground of `size`."""
    ground = Image.new("L", size, 0)
    enlarged = Image.fromarray(image).resize((edge, edge), Image.Resampling.BICUBIC)
    ground.paste(enlarged, ((size[0] - edge) // 3, (size[1] - edge) // 2))
    return ground


def negative(picture: Image.Image, white: int = 255) -> Image.Image:
    """Dark on a ground of the level `white`."""
    return picture.point(lambda level: white * (255 - level) // 255)


def as_png16(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)


def cut_out(picture: Image.Image) -> Image.Image:
    """The garment's own colours, dark, and transparent where there is none."""
    colours = Image.merge("RGB", [negative(picture)] * 3)
    colours.putalpha(picture.point(lambda level: 255 * (level > 12)))
    return colours


def softly_cut_out(picture: Image.Image) -> Image.Image:
    """The garment's own colours, dark, under an alpha that fades over its edges; what is wholly
    transparent has a colour that must not be seen."""
    mask = picture.point(lambda level: 255 * (level > 12))
    alpha = mask.filter(ImageFilter.GaussianBlur(1.5))
    colours = Image.merge("RGB", [negative(picture)] * 3)
    colours.paste((255, 0, 0), mask=alpha.point(lambda level: 255 * (level == 0)))
    colours.putalpha(alpha)
    return colours


# What may be made of an image: file type and picture. Five sizes, both polarities.
PICTURES = {
    "bright": ("png", lambda image: placed(image, (60, 40), 36)),
    "dark JPEG": ("jpg", lambda image: negative(placed(image, (110, 90), 80))),
    "dark on grey": ("webp", lambda image: negative(placed(image, (130, 190), 120), 235)),
    "transparent": ("png", lambda image: cut_out(placed(image, (180, 170), 150))),
    "soft edges": ("webp", lambda image: softly_cut_out(placed(image, (150, 130), 100))),
    "16 bits": ("png", lambda image: as_png16(negative(placed(image, (300, 260), 224)))),
    "of the model's size": ("png", Image.fromarray),
}


def test_pictures_of_known_garments(tmp_path):
    """Twenty of each class, made into pictures of each kind: 1,200, so that luck decides little."""
    model, test = trained_model(), garments("t10k")
    hits = dict.fromkeys(PICTURES, 0)
    for k in range(len(CLASSES)):
        for number, image in enumerate(test.x[test.t == k][:20]):
            for name, (kind, make) in PICTURES.items():
                path = tmp_path / f"{k}-{number}.{kind}"
                make(image).save(path, compress_level=1, method=0)  # quickly
                prepared, inverted = read_pictures(str(path), SHAPE)
                assert inverted == (name not in ("bright", "of the model's size"))
                hits[name] += int(model.predict(prepared.reshape(1, -1))[0] == k)
    assert sum(hits.values()) >= 0.85 * 200 * len(PICTURES), hits


@pytest.mark.parametrize("name", PICTURES)
def test_every_kind_becomes_the_same_image(name, shirt, tmp_path):
    kind, make = PICTURES[name]
    make(shirt).save(tmp_path / f"picture.{kind}")
    [image], _ = read_pictures(str(tmp_path / f"picture.{kind}"), SHAPE)
    assert np.corrcoef(image.reshape(-1), shirt.reshape(-1))[0, 1] > 0.9
    assert image[:, 0].max() == 0  # narrower than high: extended with the ground


def test_an_image_of_the_models_size_is_left_as_it_is(shirt, tmp_path):
    for invert, expected in (("auto", shirt), ("no", shirt), ("yes", 255 - shirt)):
        for file in ("image.png", "images.idx", "images.gz"):
            path = tmp_path / file
            if file == "image.png":
                Image.fromarray(shirt).save(path)
            else:
                write_idx(path, shirt[None])
            images, inverted = read_pictures(str(path), SHAPE, invert)
            np.testing.assert_array_equal(images, expected[None])
            assert inverted == (invert == "yes")


@pytest.mark.parametrize("name", ["images.idx", "images.gz"])
def test_data_that_are_dark_on_light_are_taken_as_they_were_trained_on(name, rng, tmp_path):
    images = (255 - rng.integers(0, 256, (9, *SHAPE)) * (rng.random((9, *SHAPE)) < 0.2)).astype(
        np.uint8
    )
    images[:, [0, -1]] = 255
    write_idx(tmp_path / name, images)
    found, inverted = read_pictures(str(tmp_path / name), SHAPE)
    np.testing.assert_array_equal(found, images)
    assert not inverted
    np.testing.assert_array_equal(read_pictures(str(tmp_path / name), SHAPE, "yes")[0], 255 - found)
    assert read_pictures(str(tmp_path / name), (14, 14)).inverted  # prepared as a picture is


def test_the_ground_of_many_images_takes_little_memory(rng):
    images = rng.integers(0, 256, (20_000, *SHAPE)).astype(np.uint8)  # 16 MB
    find_ground(images[:9])
    tracemalloc.start()
    try:
        find_ground(images)
        assert tracemalloc.get_traced_memory()[1] < 2 * images.nbytes
    finally:
        tracemalloc.stop()


def test_preparation_step_by_step():
    """Trimmed to 4×2, every other row and column skipped: 2×1, sharpened, in the middle of 2×3."""
    image = np.full((7, 9), 240, np.uint8)
    image[2:6, 3:5] = [[200, 0], [0, 40], [0, 0], [0, 80]]
    image[0, 0] = 235  # close to the ground
    ground, darker = find_ground(image[None])
    assert (ground, darker) == (240, True)
    # of 4 rows the second and the last, of 2 columns the last: 40 and 80, which become 200 and 160
    above, below = (200 * 255 / 240, 160 * 255 / 240)
    above, below = above + 0.228 * (above - below), below - 0.228 * (above - below)
    expected = [[0, min(255, above), 0], [0, below, 0]]
    result = prepare(image, (2, 3), ground, inverted=True)
    np.testing.assert_allclose(result, expected, atol=0.6)


def test_orientation_palette_and_animation(shirt, tmp_path):
    upright = placed(shirt, (90, 120), 84)
    expected, _ = read_pictures(save(upright, tmp_path / "upright.png"), SHAPE)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the left: a viewer turns it to the right
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    others = {
        "turned.png": save(turned, tmp_path / "turned.png", exif=exif),
        "palette.png": save(upright.convert("P"), tmp_path / "palette.png"),
        "alpha.png": save(upright.convert("LA"), tmp_path / "alpha.png"),
        "cmyk.tiff": save(upright.convert("RGB").convert("CMYK"), tmp_path / "cmyk.tiff"),
        "32 bits.tiff": save(
            Image.fromarray(np.asarray(upright).astype(np.int32) * 257), tmp_path / "i.tiff"
        ),
        "rgb.bmp": save(upright.convert("RGB"), tmp_path / "rgb.bmp"),
        "animation.gif": save(
            upright, tmp_path / "a.gif", save_all=True, append_images=[negative(upright)]
        ),
        "float.tiff": save(
            Image.fromarray(np.asarray(upright) / np.float32(255)), tmp_path / "f.tiff"
        ),
    }
    for name, path in others.items():
        images, _ = read_pictures(path, SHAPE)
        assert np.abs(images.astype(int) - expected).max() <= 2, name


@pytest.mark.parametrize(("colour", "ground"), [(60, 255), (250, 0)])
def test_a_partly_transparent_pixel_shows_its_share_of_the_ground(colour, ground, tmp_path):
    """White under a dark garment, black under a bright one; of the model's size, so that nothing
    but a negation follows."""
    rgba = np.full((*SHAPE, 4), (7, 99, 200, 0), np.uint8)  # seen nowhere
    rgba[4:24, 4:24, :3] = colour
    rgba[4:24, 4:24, 3] = 255
    rgba[4:24, 4:9, 3] = (1, 64, 128, 192, 254)
    [image], inverted = read_pictures(save(Image.fromarray(rgba), tmp_path / "soft.png"), SHAPE)
    assert inverted == (ground == 255)
    alpha = rgba[..., 3] / 255
    expected = alpha * colour + (1 - alpha) * ground
    np.testing.assert_allclose(image, 255 - expected if inverted else expected, atol=0.51)


def save(picture: Image.Image, path: Path, **options: object) -> str:
    picture.save(path, **options)
    return str(path)


def test_output(model_file, shirt, tmp_path):
    model = untrained_model()
    y = model.predict_proba(shirt.reshape(1, -1))[0]
    order = np.argsort(-y)
    path = save(Image.fromarray(shirt), tmp_path / "a.png")
    longer = save(negative(placed(shirt, (200, 300), 170)), tmp_path / "longer.png")

    done = mlp("predict", model_file, path, longer)
    assert done.stderr.decode() == f"{longer}: darker than its ground: inverted\n"
    first, second = done.stdout.decode().splitlines()
    columns = "  ".join(f"{CLASSES[k]:11} {y[k]:.4f}" for k in order[:3])
    assert first == f"{path}:{' ' * (len(longer) - len(path))} {columns}"
    assert len(first) == len(second)

    done = mlp("predict", model_file, "-", "--json", "--top", 2, stdin=Path(path).read_bytes())
    line = json.loads(done.stdout)
    assert line["image"] == "-"
    assert line["inverted"] is False
    assert [top["class"] for top in line["top"]] == [CLASSES[k] for k in order[:2]]
    assert line["top"][0]["probability"] == pytest.approx(float(y.max()), abs=1e-6)


def test_labels(model_file, rng, tmp_path):
    images = rng.integers(0, 256, (50, *SHAPE)).astype(np.uint8)
    t = untrained_model().predict(images.reshape(50, -1))
    t[:5] = (t[:5] + 1) % 10
    write_idx(tmp_path / "images.gz", images)
    write_idx(tmp_path / "labels.gz", t)
    arguments = ("predict", model_file, tmp_path / "images.gz", "--labels", tmp_path / "labels.gz")
    lines = mlp(*arguments).stdout.decode().splitlines()
    assert lines[-1] == "accuracy 0.9000 (45 of 50)"
    assert len(lines) == 51
    last = json.loads(mlp(*arguments, "--json").stdout.splitlines()[-1])
    assert last == {"accuracy": 0.9, "hits": 45, "images": 50}
    write_idx(tmp_path / "labels.gz", t[:9])
    done = mlp(*arguments)
    assert done.returncode == 2
    assert b"9 labels, but 50 images" in done.stderr


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG file by hand, whose header may promise what does not follow."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


IDX = bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 28, 28)
BAD = {
    "empty": (b"", "neither a picture nor an IDX file of images"),
    "text": (b"a shirt", "neither a picture nor an IDX file of images"),
    "no program is started for": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "neither"),
    "truncated": (png(40, 40, os.urandom(41 * 40))[:-900], "not readable as a picture"),
    "garbage": (b"\xff\xd8\xff\xe0" + bytes(100), "neither"),
    "bomb": (png(60_000, 60_000), "pixels"),
    "large": (png(9_000, 9_000), "9,000×9,000 pixels, more than the 50,000,000 that are read"),
    "one colour": (png(40, 40, bytes(41 * 40)), "shows nothing"),
    "short IDX": (IDX + bytes(1000), "truncated: its header announces (2, 28, 28)"),
    "long IDX": (IDX + bytes(1569), "too long"),
    "IDX without images": (IDX[:4] + bytes(4) + IDX[8:], "holds no pixels"),
    "labels": (bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]), "not an IDX file of images"),
    "damaged gzip": (gzip.compress(IDX + bytes(1568))[:-20], "damaged"),
    "IDX of a planet": (IDX[:4] + b"\xff" * 12, "more than the"),
}


def test_bad_files_are_a_line_each_and_the_others_go_on(model_file, shirt, tmp_path):
    paths = [tmp_path / name for name in BAD] + [tmp_path / "missing", tmp_path]
    for path, (content, _) in zip(paths, BAD.values(), strict=False):
        path.write_bytes(content)
    good = save(Image.fromarray(shirt), tmp_path / "good.png")
    done = mlp("predict", model_file, *paths, good)
    assert done.returncode == 2
    errors = done.stderr.decode().splitlines()
    assert len(errors) == len(paths)
    for path, line, message in zip(
        paths, errors, [m for _, m in BAD.values()] + ["No such file", "directory"], strict=True
    ):
        assert line.startswith("mlp predict: ")
        assert str(path) in line
        assert message in line
    assert done.stdout.decode().startswith(f"{good}:")


def test_what_a_header_promises_takes_no_memory(tmp_path):
    path = tmp_path / "promise.idx"
    promise = IDX[:4] + struct.pack(">III", 2, 2**15, 2**14) + bytes(9)
    for content in (promise, gzip.compress(promise)):
        path.write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match="truncated: its header announces"):
                read_pictures(str(path), SHAPE)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


def test_a_pipe_without_end(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 1 << 20)
    with open("/dev/zero", "rb") as zeros, bounded():
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=zeros))
        with pytest.raises(InputError, match=r"^-: more than the 1,048,576 bytes that are read"):
            read_pictures("-", SHAPE)


def test_large_pictures_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    path.write_bytes(png(9_000, 9_000, bytes(9_001 * 9_000)))
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match="more than"):
        read_pictures(str(path), SHAPE)


def test_a_reader_that_stops(model_file, tmp_path):
    write_idx(tmp_path / "many.idx", np.zeros((5_000, *SHAPE)))
    command = f"{sys.executable} -m mlp predict {model_file} {tmp_path}/many.idx | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_unicode(encoding, model_file, shirt, tmp_path):
    path = save(Image.fromarray(shirt), tmp_path / "žaba →.png")
    done = mlp("predict", model_file, path, tmp_path / "ž", PYTHONIOENCODING=encoding)
    assert b"Traceback" not in done.stderr
    assert done.stdout.count(b"\n") == done.stderr.count(b"\n") == 1
    assert mlp("info", model_file, PYTHONIOENCODING=encoding).returncode == 0


def test_without_pillow(model_file, shirt, tmp_path):
    (tmp_path / "PIL.py").write_text("raise ImportError")
    write_idx(tmp_path / "one.idx", shirt[None])
    path = save(Image.fromarray(shirt), tmp_path / "picture.png")
    done = mlp("predict", model_file, path, tmp_path / "one.idx", PYTHONPATH=str(tmp_path))
    assert done.stderr.decode() == (
        f"mlp predict: {path}: pictures need Pillow: pip install pillow\n"
    )
    assert done.stdout.count(b"\n") == 1  # IDX files do without
    assert done.returncode == 2


def test_a_pipe_is_read_whole(shirt):
    buffer = io.BytesIO()
    negative(placed(shirt, (200, 300), 170)).save(buffer, "PNG")
    reading, writing = os.pipe()
    os.write(writing, buffer.getvalue())
    os.close(writing)
    images, inverted = read_pictures(f"/dev/fd/{reading}", SHAPE)
    os.close(reading)
    assert images.shape == (1, *SHAPE)
    assert inverted


def test_info(model_file):
    done = mlp("info", model_file)
    text = done.stdout.decode()
    assert max(map(len, text.splitlines())) <= 80 + len(str(model_file))
    for fact in ("Affine(784 → 24)", "Normalise", "image_shape", *CLASSES):
        assert fact in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "nowhere.npz", "x.png"], "nowhere.npz"),
        (["info", "pyproject.toml"], "pyproject.toml: not an .npz file"),
        (["page", "nowhere.npz", "-o", "page.html"], "nowhere.npz"),
        (["predict", "model.npz", "x.png", "--top", "0"], "invalid positive value: '0'"),
    ],
)
def test_bad_arguments(arguments, message):
    done = mlp(*arguments)
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def refused(*arguments: object, why: str) -> None:
    done = mlp(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert why in done.stderr.decode()


def test_no_labels(model_file, tmp_path):
    write_idx(tmp_path / "labels", np.zeros(0))
    refused("predict", model_file, "missing", "--labels", tmp_path / "labels", why="no labels")


@pytest.mark.parametrize("kind", ["batch norm", "large"])
def test_a_model_whose_answers_are_no_numbers(kind, tmp_path, rng):
    """Its weights are finite."""
    model = MLP(4, [3], 2, batch_norm=kind == "batch norm", rng=rng)
    model.metadata = {"classes": ["a", "b"], "image_shape": [2, 2]}
    if kind == "batch norm":
        model.params[-3:] = -1  # the variances
    else:
        model.params[: model.n_weights] = 3e38
    model.save_parameters(tmp_path / "model.npz")
    write_idx(tmp_path / "images", rng.integers(0, 256, (2, 2, 2)))
    images = ("--invert", "no", tmp_path / "images")
    refused("predict", tmp_path / "model.npz", *images, why="model.npz: what it makes")


@pytest.mark.parametrize(("command", "option"), [("export", "--onnx"), ("page", "-o")])
def test_what_an_output_cannot_replace(command, option, model_file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("", ".", "/", tmp_path, tmp_path / "pipe", tmp_path / "link"):
        refused(command, model_file, option, name, why="not the name of a regular file")
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_fifo()
    before = model_file.read_bytes()
    refused(command, model_file, option, model_file, why="is read")
    assert model_file.read_bytes() == before


@pytest.mark.parametrize(
    ("closed", "status"), [("<&-", 2), (">&-", 0), ("2>&-", 2), (">&- 2>&-", 2)]
)
def test_closed_streams(closed, status, model_file):
    image = "-" if status else model_file.parent / "image.png"
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(model_file.parent / "image.png")
    command = f'exec "$0" -m mlp predict "$1" "$2" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, model_file, image],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    assert done.stderr.count(b"\n") == (closed == "<&-")
