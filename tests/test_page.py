"""The page in a real browser: the same answers, and everything within reach of the keyboard."""

import io
import re
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from garments import CLASSES, SHAPE, untrained_model
from PIL import Image

from mlp.files import InputError
from mlp.page import write_page
from mlp.pictures import MAX_PIXELS, SHARPEN, read_pictures

DOWN, RIGHT, SPACE, DELETE, TAB = "\ue015", "\ue014", " ", "\ue017", "\ue004"
# Probabilities that the page shows, one for each class
SHOWN = "return now.probabilities ? [...now.probabilities] : null"


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    rng = np.random.default_rng(5)
    images = np.zeros((3, *SHAPE), np.uint8)
    images[:, 3:25, 8:20] = rng.integers(80, 256, (3, 22, 12))
    return images


@pytest.fixture(scope="module")
def page(samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(untrained_model(), path, samples)
    return path


@pytest.fixture
def browser(shared: Browser, page: Path) -> Browser:
    shared.open(page)
    return shared


def answer(image: np.ndarray) -> np.ndarray:
    return untrained_model().predict_proba(image.reshape(1, -1))[0]


def test_it_answers_as_python_does(browser, samples):
    for number, sample in enumerate(samples):
        browser.click(f"#samples button:nth-child({number + 1})")
        np.testing.assert_allclose(browser.run(SHOWN), answer(sample), atol=5e-5)
    k = answer(samples[-1]).argmax()
    assert browser.run("return document.getElementById('verdict').textContent").startswith(
        CLASSES[k]
    )
    assert browser.errors() == []


def pictures() -> dict[str, Image.Image]:
    """Pictures of a coloured garment with soft edges: what a camera or a shop would give."""
    rng = np.random.default_rng(6)
    small = np.full((12, 10, 3), 250, np.uint8)
    small[1:11, 2:8] = rng.integers(0, 200, (10, 6, 3))
    colour = Image.fromarray(small).resize((150, 190), Image.Resampling.BICUBIC)
    cut = colour.copy()
    cut.putalpha(colour.convert("L").point(lambda level: 255 * (level < 225)))
    return {
        "colour.png": colour,
        "colour.jpg": colour,
        "lossless.webp": colour,
        "turned.jpg": colour,
        "palette.gif": colour.quantize(200),
        "cut-out.png": cut,
        "negative.png": Image.fromarray(255 - np.asarray(colour)),
        "sixteen.png": Image.fromarray(np.asarray(colour.convert("L")).astype(np.uint16) * 257),
        "wide.png": colour.resize((211, 64)),
        "tiny.png": colour.resize((11, 13)),
        "of-the-models-size.png": Image.fromarray(255 - np.asarray(colour.resize(SHAPE))),
    }


@pytest.mark.parametrize("name", pictures())
def test_a_picture_is_prepared_as_by_predict(name, browser, tmp_path):
    options = {"webp": {"lossless": True}, "jpg": {"quality": 90}}.get(name.split(".")[1], {})
    if name == "turned.jpg":
        options["exif"] = exif = Image.Exif()
        exif[0x0112] = 8
    pictures()[name].save(tmp_path / name, **options)
    images, inverted = read_pictures(str(tmp_path / name), SHAPE)
    browser.choose_file("#file", tmp_path / name)
    wait(browser, "return document.getElementById('message').textContent !== ''")
    expected = f"{name}: darker than its ground, so negated" if inverted else name
    assert browser.run("return document.getElementById('message').textContent") == expected
    np.testing.assert_array_equal(browser.run("return [...image]"), images.reshape(-1))
    np.testing.assert_allclose(browser.run(SHOWN), answer(images), atol=5e-5)


def wait(browser: Browser, condition: str) -> None:
    for _ in range(200):
        if browser.run(condition):
            return
        time.sleep(0.05)
    pytest.fail(condition)


def test_a_drop_and_the_choice_to_negate(browser, tmp_path):
    buffer = io.BytesIO()
    pictures()["colour.png"].save(buffer, "PNG")
    (tmp_path / "dropped.png").write_bytes(buffer.getvalue())
    browser.run(
        "const transfer = new DataTransfer();"
        "transfer.items.add(new File([new Uint8Array(arguments[0])], 'dropped.png'));"
        "document.body.dispatchEvent("
        "new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true}))",
        list(buffer.getvalue()),
    )
    wait(browser, "return document.getElementById('message').textContent.includes('negated')")
    browser.run(
        "const menu = document.getElementById('invert'); menu.value = 'no';"
        "menu.dispatchEvent(new Event('change'))"
    )
    wait(browser, "return document.getElementById('message').textContent === 'dropped.png'")
    images, _ = read_pictures(str(tmp_path / "dropped.png"), SHAPE, "no")
    np.testing.assert_array_equal(browser.run("return [...image]"), images.reshape(-1))


@pytest.mark.parametrize(
    ("content", "message"), [(b"a shirt", "not readable as a picture"), (None, "shows nothing")]
)
def test_what_is_no_picture(content, message, browser, samples, tmp_path):
    path = tmp_path / "file.png"
    Image.new("L", (50, 50), 99).save(path)
    if content:
        path.write_bytes(content)
    browser.choose_file("#file", path)
    wait(browser, "return document.getElementById('message').textContent !== ''")
    assert message in browser.run("return document.getElementById('message').textContent")
    np.testing.assert_array_equal(browser.run("return [...image]"), samples[0].reshape(-1))


def test_a_pixel_changes_the_answer(browser, samples):
    changed = samples[0].copy()
    browser.run("document.getElementById('picture').focus()")
    browser.keys(DOWN + RIGHT + RIGHT + SPACE)  # from the middle
    changed[15, 16] = 255
    np.testing.assert_array_equal(browser.run("return [...image]"), changed.reshape(-1))
    np.testing.assert_allclose(browser.run(SHOWN), answer(changed), atol=5e-5)
    told = browser.run("return document.getElementById('pixel').textContent")
    k = answer(changed).argmax()
    without = changed.copy()
    without[15, 16] = 0
    assert told.startswith(f"Row 16, column 17: brightness 255. Were it 0, {CLASSES[k]} would ")
    if "from" in told:
        assert f"to {100 * answer(without)[k]:.1f} %" in told

    browser.keys(DELETE)
    changed[15, 16] = 0
    browser.click("#picture", x=-6, y=-6)  # the pixel above and to the left of the middle
    changed[13, 13] = 255
    np.testing.assert_array_equal(browser.run("return [...image]"), changed.reshape(-1))

    marks = "return [...document.querySelectorAll('.track b')].filter(b => !b.hidden).length"
    moved = np.abs(answer(changed) - answer(samples[0])) >= 0.0005
    assert browser.run(marks) == np.count_nonzero(moved)
    browser.click("#restore")
    np.testing.assert_array_equal(browser.run("return [...image]"), samples[0].reshape(-1))
    browser.click("#clear")
    assert browser.run("return Math.max(...image)") == 0


def test_influence_is_the_gradient_of_the_score(browser, samples):
    """By central differences, in Python."""
    browser.click("#classes li:nth-child(4) button")
    found = browser.run("return [...network.backward(now, 3)[0]].map(v => v * network.scale)")
    model = untrained_model()
    for pixel in (200, 390, 500):
        x = samples[[0, 0]].reshape(2, -1).astype(np.float64)
        x[:, pixel] += [2, -2]
        above, below = model.forward(x)[:, 3].astype(np.float64)
        assert found[pixel] == pytest.approx((above - below) / 4, abs=1e-5)
    assert browser.run("return document.querySelector('.chosen').textContent") == CLASSES[3]


def test_neurons(browser, samples):
    model = untrained_model()
    model.forward(samples[:1].reshape(1, -1))
    values = model.layers[2].forward(
        model.layers[1].forward(model.layers[0].forward(samples[:1].reshape(1, -1)))
    )[0]
    fired = browser.run("return document.getElementById('fired').textContent")
    assert fired == f"{np.count_nonzero(values > 0)} of 24 fire at this picture."
    browser.run("document.querySelector('#tiles [tabindex=\"0\"]').focus()")
    first = browser.run("return document.getElementById('neuron-title').textContent")
    assert first == f"Neuron {values.argmax()}"
    browser.keys("\ue012" if values.argmax() else RIGHT)  # left, or right
    other = values.argmax() - 1 if values.argmax() else 1
    assert browser.run("return document.getElementById('neuron-title').textContent") == (
        f"Neuron {other}"
    )
    label = "return document.activeElement.getAttribute('aria-label')"
    assert browser.run(label).startswith(f"Neuron {other}: ")


def test_the_keyboard_reaches_everything_and_everything_has_a_name(browser):
    unnamed = browser.run(
        "return [...document.querySelectorAll('button, input, select, canvas[tabindex]')].filter("
        "e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))"
        ".map(e => e.outerHTML)"
    )
    assert unnamed == []
    reached = set()
    for _ in range(40):
        browser.keys(TAB)
        reached.add(browser.run("return document.activeElement.closest('[id]')?.id"))
    wanted = {"samples", "picture", "brightness", "brush", "restore", "clear", "file", "invert"}
    assert reached >= wanted | {"classes", "tiles"}


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window(width, browser):
    browser.become(width)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_one_file_of_under_two_megabytes_that_asks_for_nothing(samples, tmp_path):
    write_page(untrained_model(256, 128), tmp_path / "page.html", samples)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 2_000_000
    assert "default-src 'none'" in text  # the browser itself refuses every request
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 3, 3), np.uint8), np.zeros((2, *SHAPE)), np.zeros(SHAPE, np.uint8)]
)
def test_samples_that_are_no_images_of_the_models(samples, tmp_path):
    with pytest.raises(InputError, match=r"bytes \(N, 28, 28\) are needed"):
        write_page(untrained_model(), tmp_path / "page.html", samples)
    assert not list(tmp_path.iterdir())


def test_class_names_are_text(browser, tmp_path):
    model = untrained_model()
    names = ["</script><b>", "$page", "&amp;", "<!--<script>", *CLASSES[4:]]
    model.metadata = model.metadata | {"classes": names}
    write_page(model, tmp_path / "page.html", np.zeros((0, *SHAPE), np.uint8))
    browser.open(tmp_path / "page.html")
    shown = "return [...document.querySelectorAll('#classes button > :first-child')]"
    assert browser.run(shown + ".map(e => e.textContent)") == names
    assert browser.errors() == []


def test_networks_of_other_depths(browser, rng, tmp_path):
    from mlp.module import MLP

    for hidden in ([], [6], [7, 6, 5]):
        model = MLP(12, hidden, 3, activation="sigmoid", rng=rng)
        model.metadata = {"classes": ["a", "b", "c"], "image_shape": [3, 4]}
        image = rng.integers(0, 3, (1, 3, 4)).astype(np.uint8)
        write_page(model, tmp_path / "page.html", image)
        browser.open(tmp_path / "page.html")
        expected = model.predict_proba(image.reshape(1, -1).astype(np.float32))[0]
        np.testing.assert_allclose(browser.run(SHOWN), expected, atol=5e-5)
        assert browser.errors() == []


def test_both_languages_have_the_same_constants():
    script = (files("mlp.page") / "picture.js").read_text(encoding="utf-8")
    assert f"MAX_PIXELS = {MAX_PIXELS:_};" in script
    assert f"SHARPEN = {list(SHARPEN)};" in script
