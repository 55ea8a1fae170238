"use strict";
// The network: forward to probabilities, and backward from a class's score to what it rests on.

class Network {
  constructor(steps, numbers) {
    this.scale = 1;
    this.shift = 0;
    this.layers = [];  // each affine step, with the activation after it
    let start = 0;
    const take = shape => {
      const size = shape.reduce((a, b) => a * b, 1);
      return numbers.subarray(start, start += size);
    };
    for (const { kind, shapes } of steps) {
      const arrays = Object.fromEntries(Object.entries(shapes).map(([k, s]) => [k, take(s)]));
      if (kind === "scale") [this.scale, this.shift] = [arrays.scale[0], arrays.shift[0]];
      else if (kind === "affine") {
        const [inputs, outputs] = shapes.W;
        this.layers.push({ ...arrays, inputs, outputs, activation: null });
      } else this.layers.at(-1).activation = kind;
    }
  }

  // x[l] goes into layer l, z[l] is x[l] W + b, x[l + 1] what the activation makes of it
  forward(pixels) {
    const x = [Float64Array.from(pixels, p => p * this.scale - this.shift)], z = [];
    for (const { W, b, inputs, outputs, activation } of this.layers) {
      const input = x.at(-1), sum = Float64Array.from(b);
      for (let i = 0; i < inputs; i++) {
        if (input[i] === 0) continue;
        for (let j = 0, at = i * outputs; j < outputs; j++) sum[j] += input[i] * W[at + j];
      }
      z.push(sum);
      x.push(activation === "relu" ? sum.map(v => Math.max(v, 0))
        : activation === "sigmoid" ? sum.map(v => 1 / (1 + Math.exp(-v))) : sum);
    }
    const logits = x.at(-1), most = Math.max(...logits);
    const powers = logits.map(v => Math.exp(v - most)), total = powers.reduce((a, b) => a + b);
    return { x, z, probabilities: powers.map(v => v / total) };
  }

  // The gradient of class k's score with respect to x[l], for each layer l
  backward({ x }, k) {
    const gradients = [];
    let dout = Float64Array.from(x.at(-1), (_, j) => (j === k ? 1 : 0));
    for (let l = this.layers.length - 1; l >= 0; l--) {
      const { W, inputs, outputs, activation } = this.layers[l], y = x[l + 1];
      if (activation === "relu") dout = dout.map((d, j) => (y[j] > 0 ? d : 0));
      if (activation === "sigmoid") dout = dout.map((d, j) => d * y[j] * (1 - y[j]));
      const dx = new Float64Array(inputs);
      for (let i = 0; i < inputs; i++) {
        for (let j = 0, at = i * outputs; j < outputs; j++) dx[i] += dout[j] * W[at + j];
      }
      gradients[l] = dout = dx;
    }
    return gradients;
  }
}
