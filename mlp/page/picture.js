"use strict";
// Any picture of a garment, made into an image: what mlp/pictures.py does, to the last bit.

const MAX_PIXELS = 50_000_000;
const TOLERANCE = 0.05 * 255;
const SHARPEN = [1.6608813248768484, -0.10284293687165966, -0.06237739434755245];

const luma = (red, green, blue) => (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;

// Levels of grey of a picture's bytes (red, green, blue, alpha), with white where it is transparent,
// or black if its garment would hardly stand out from that
function greyOf(rgba, invert) {
  let weighted = 0, weights = 0;
  for (let i = 0; i < rgba.length; i += 4) {
    weighted += luma(rgba[i], rgba[i + 1], rgba[i + 2]) * rgba[i + 3];
    weights += rgba[i + 3];
  }
  const white = invert === "auto" ? weighted * 10 <= 9 * 255 * weights : invert === "yes";
  const ground = white ? 255 : 0;
  const over = (value, alpha) => Math.floor((value * alpha + ground * (255 - alpha) + 127) / 255);
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < rgba.length; i += 4) {
    const alpha = rgba[i + 3];
    grey[i / 4] = luma(over(rgba[i], alpha), over(rgba[i + 1], alpha), over(rgba[i + 2], alpha));
  }
  return grey;
}

// The median of the border, and whether the garment is darker; null if nothing stands out
function findGround(grey, width, height) {
  const border = [];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const edge = row === 0 || row === height - 1 || column === 0 || column === width - 1;
      if (edge) border.push(grey[row * width + column]);
    }
  }
  const ground = border.sort((a, b) => a - b)[Math.floor(border.length / 2)];
  let sum = 0, count = 0;
  for (const level of grey) {
    if (Math.abs(level - ground) > TOLERANCE) { sum += level; count++; }
  }
  return { ground, darker: count ? sum / count < ground : null };
}

function prepare(grey, width, height, [rows, columns], ground, inverted) {
  let x = Float64Array.from(grey, level => inverted ? 255 - level : level);
  if (inverted) ground = 255 - ground;
  let sum = 0, count = 0, top = height, bottom = -1, left = width, right = -1;
  x.forEach((level, i) => {
    if (Math.abs(level - ground) <= TOLERANCE) return;
    sum += level; count++;
    const row = Math.floor(i / width), column = i % width;
    top = Math.min(top, row); bottom = Math.max(bottom, row);
    left = Math.min(left, column); right = Math.max(right, column);
  });
  if (sum / count > ground) {
    x = x.map(level => Math.max(level - ground, 0) * 255 / (255 - ground));
    ground = 0;
  }

  const h = bottom - top + 1, w = right - left + 1;
  const scaled = (edge, size, old, most) =>
    Math.max(1, Math.min(most, Math.floor((2 * edge * size + old) / (2 * old))));
  const tall = h * columns >= w * rows;
  const newHeight = tall ? rows : scaled(h, columns, w, rows);
  const newWidth = tall ? scaled(w, rows, h, columns) : columns;
  const at = (row, column) => {  // outside, the edges go on
    const r = Math.max(0, Math.min(newHeight - 1, row)), c = Math.max(0, Math.min(newWidth - 1, column));
    return x[(top + Math.floor((2 * r + 1) * h / (2 * newHeight))) * width
      + left + Math.floor((2 * c + 1) * w / (2 * newWidth))];
  };
  const [centre, beside, diagonal] = SHARPEN;
  const image = new Uint8Array(rows * columns).fill(ground);
  const down = Math.floor((rows - newHeight) / 2), along = Math.floor((columns - newWidth) / 2);
  for (let r = 0; r < newHeight; r++) {
    for (let c = 0; c < newWidth; c++) {
      const cross = (at(r - 1, c) + at(r + 1, c)) + (at(r, c - 1) + at(r, c + 1));
      const corners = (at(r - 1, c - 1) + at(r - 1, c + 1)) + (at(r + 1, c - 1) + at(r + 1, c + 1));
      const level = centre * at(r, c) + beside * cross + diagonal * corners;
      image[(down + r) * columns + along + c] =
        Math.floor(Math.max(0, Math.min(255, level)) + 0.5);
    }
  }
  return image;
}

// What prediction starts from: an image of `shape`, and whether it was negated
function imageOf(rgba, width, height, shape, invert) {
  const grey = greyOf(rgba, invert);
  const { ground, darker } = findGround(grey, width, height);
  const inverted = invert === "auto" ? darker === true : invert === "yes";
  if (height === shape[0] && width === shape[1]) {
    return { image: inverted ? grey.map(level => 255 - level) : grey, inverted };
  }
  if (darker === null) throw new Error("shows nothing: all is of the colour of its border");
  return { image: prepare(grey, width, height, shape, ground, inverted), inverted };
}

// The bytes of a file that the browser can decode, upright, colours as they stand in it
async function decode(file) {
  const bitmap = await createImageBitmap(file, {
    colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image",
  });
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new Error("too large");
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return { rgba: context.getImageData(0, 0, width, height).data, width, height };
}
