// Tests of fused-codes.ts against code-chain.ts: the same bits for tokens of K and channels of V.
import { describe, expect, it } from 'vitest';
import { f16Round } from '../format.js';
import { dotModel } from '../mma.js';
import { type Draw, draws } from '../simulated/draw.js';
import { codeAlignment, codeChain, codeOperand } from './code-chain.js';
import { FusedCodes } from './fused-codes.js';
import { fieldWeight } from './schedule.js';

/** An operand of `length` numbers, some of them zero, over many exponents or few. */
function operand(draw: Draw, bits: number, length: number) {
  const weights = Int32Array.from({ length }, (_, d) => fieldWeight(bits, d));
  const spread = draw.below(25);
  const b = Float64Array.from(weights, () =>
    draw.below(6) === 0 ? 0 : f16Round(draw.normal() * 2 ** (draw.below(spread + 1) - 14)),
  );
  return { weights, b };
}

function setOperand(fused: FusedCodes, { weights, b }: ReturnType<typeof operand>): void {
  for (let i = 0; i < b.length; i++) {
    fused.x[i] = b[i] * 2 ** weights[i];
    fused.align[i] = codeAlignment(b[i]);
  }
  fused.setOperand(b.length);
}

/** Codes with many zeros, and whole items of zeros. */
function someCodes(draw: Draw, bits: number, tokens: number, size: number): Uint8Array {
  const codes = new Uint8Array(tokens * size);
  for (let i = 0; i < codes.length; i++) codes[i] = draw.below(2 ** bits) * draw.below(2);
  codes.fill(0, 0, size);
  return codes;
}

describe.each([dotModel('sm_80'), dotModel('sm_90')])('fused sums with F = $fraction', (model) => {
  it('of channels are the chains of each token', () => {
    for (let seed = 0; seed < 60; seed++) {
      const draw = draws(seed);
      const [bits, size, tokens] = [
        [8, 4, 2][seed % 3],
        [64, 128, 256][draw.below(3)],
        1 + draw.below(128),
      ];
      const fused = new FusedCodes(model, size);
      const codes = someCodes(draw, bits, tokens, size);
      const own = operand(draw, bits, size);
      const tile = fused.keys(codes, size);
      setOperand(fused, own);
      fused.sums.fill(0);
      fused.add(tile, 0, tile.runs, size, 0, tokens);
      const made = codeOperand(model, own.b, own.weights);
      const chains = Array.from({ length: tokens }, (_, t) =>
        codeChain(model, codes, t * size, made, 0, size),
      );
      expect(Array.from(fused.sums.subarray(0, tokens))).toEqual(chains);
    }
  });

  it('of tokens are the chains of each channel, on top of sums that are there', () => {
    for (let seed = 0; seed < 60; seed++) {
      const draw = draws(seed);
      const [bits, size, tokens] = [[8, 4, 2][seed % 3], 64, 1 + draw.below(128)];
      const fused = new FusedCodes(model, size);
      const parts = [tokens, 128].map((count) => {
        const codes = someCodes(draw, bits, count, size);
        return { count, codes, own: operand(draw, bits, count) };
      });
      fused.sums.fill(0);
      for (const { count, codes, own } of parts) {
        const tile = fused.values(codes, size);
        setOperand(fused, own);
        fused.add(tile, 0, tile.runs, count, 8, size); // not the first eight
      }
      // Padded with zeros to whole fused sums, both parts are one chain.
      const n = model.fusedProducts;
      const joined = (channel: number) => {
        const ends = parts.map(({ count }) => Math.ceil(count / n) * n);
        const all = new Uint8Array(ends[0] + ends[1]);
        const b = new Float64Array(all.length);
        const weights = new Int32Array(all.length);
        parts.forEach(({ count, codes, own }, i) => {
          const at = i * ends[0];
          for (let t = 0; t < count; t++) all[at + t] = codes[t * size + channel];
          b.set(own.b, at);
          weights.set(own.weights, at);
        });
        return codeChain(model, all, 0, codeOperand(model, b, weights), 0, all.length);
      };
      for (let d = 8; d < size; d++) expect(fused.sums[d]).toBe(joined(d));
      expect(Array.from(fused.sums.subarray(0, 8))).toEqual(Array(8).fill(0));
    }
  });
});
