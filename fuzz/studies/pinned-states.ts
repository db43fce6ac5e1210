// pinned-states.ts - why a kernel's perplexity is measured over the keys and values of the
// reference's pass, and the two caches that do it.
//
// Left to itself, a model over a cache of few bits is chaotic: a relative change of 1e-6 of the
// attention outputs moves the mean loss of a window by 2e-4 at 4 bits and by 8e-4 at 2 bits,
// because it moves keys and values across rounding boundaries of later tokens, and a code that
// flips is off by a whole step. Two right kernels would then differ in the fourth decimal, and no
// wrong one could be told from them. So the reference's pass records K and V of every layer, and
// the kernel's pass puts the same values into its cache; its queries and outputs are its own, from
// layer to layer. What is left moves the loss by 2e-5 for a change of 3e-4. (--free lets the
// kernel's own K and V in.)

import type { CacheAttention, LayerPrefix } from './scored-windows.js';

/** K and V of the scored tokens in one layer. */
export type LayerStates = LayerPrefix;

/** Keeps what enters the cache, layer after layer. */
export class RecordingCache implements CacheAttention {
  readonly states: LayerStates[] = [];

  constructor(private readonly inner: CacheAttention) {}

  attend(...[prefix, q, k, v, out]: Parameters<CacheAttention['attend']>): void {
    this.states.push({ k: k.slice(), v: v.slice() });
    this.inner.attend(prefix, q, k, v, out);
  }
}

/** Lets recorded values into the cache in place of those of this pass. */
export class PinnedCache implements CacheAttention {
  private layer = 0;

  constructor(
    private readonly inner: CacheAttention,
    private readonly states: readonly LayerStates[],
  ) {}

  attend(...[prefix, q, , , out]: Parameters<CacheAttention['attend']>): void {
    const { k, v } = this.states[this.layer];
    this.layer += 1;
    this.inner.attend(prefix, q, k, v, out);
  }
}
