// device-probe.ts - after each case on a device: does it still answer as it did at first?
//
// A launch that goes wrong may leave an error that only a later call reports, and state that
// changes what later cases see. A tiny case is run when the kernel is opened and again after every
// case: an error then belongs to the case before it, and to no case that follows, because the
// process is replaced. Where the kernel promises equal bits, other bits are an error too. Emulated
// kernels and kernels on the host have no device; what they break, the end of their process shows.

import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Capabilities, Kernel, RunResult } from '../../properties/kernel.js';
import { materialize, noSource } from '../../properties/materialize.js';
import type { Scheme } from '../../reference/scheme.js';

const POISON = 0xa5;

export class DeviceProbe {
  private readonly first: RunResult | null;

  private constructor(
    private readonly kernel: Kernel,
    private readonly probe: Case,
  ) {
    this.first = this.run();
  }

  /** null: the kernel has no device, or no case that is small enough. */
  static of(kernel: Kernel): DeviceProbe | null {
    const { capabilities, device } = kernel;
    if (capabilities.emulated || !device.sm.startsWith('sm_')) return null;
    const probe = smallestCase(capabilities);
    return probe === null || kernel.supports(probe) !== null
      ? null
      : new DeviceProbe(kernel, probe);
  }

  /** null: as at the beginning; else one sentence. */
  complaint(): string | null {
    const now = this.run();
    if (now === null) return null;
    if (now.kind === 'device-error') return `a probe after the case: ${now.reason}`;
    if (this.first?.kind !== 'ran') return null; // it never worked: that is for the properties
    if (now.kind !== 'ran') return `a probe after the case: ${now.reason}`;
    if (!this.kernel.capabilities.deterministic) return null;
    const isSame = Buffer.compare(bytesOf(now.output), bytesOf(this.first.output)) === 0;
    return isSame ? null : 'a probe after the case gives other bits than before it';
  }

  private run(): RunResult | null {
    const made = materialize(this.probe, noSource);
    if (made.kind === 'error') return null;
    return this.kernel.run(this.probe, made.inputs, { poison: POISON });
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint16Array) =>
  Buffer.from(buffer, byteOffset, byteLength);

/** One token, one head, in the first format that the kernel declares. */
function smallestCase({ formats }: Capabilities): Case | null {
  const [first] = formats;
  if (first === undefined) return null;
  const { format, kAxis, bits, groups, headSizes } = first;
  const recipe = { distribution: 'normal' as const, seed: 1, scale: 0, offset: 0 };
  return {
    schema: CASE_SCHEMA,
    problem: { tokens: [1], queryHeads: 1, kvHeads: 1, headSize: headSizes[0] },
    scheme: { format, kAxis: kAxis[0], bits: bits[0], group: groups[0] } as unknown as Scheme,
    tensors: { q: recipe, k: recipe, v: recipe },
    options: { softmaxScale: 0.125, splits: 0 },
  };
}
