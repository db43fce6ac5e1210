// The rules of other projects: what they accept although it is wrong is the point of the table.
import { describe, expect, it } from 'vitest';
import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Kernel } from '../../properties/kernel.js';
import { materialize, noSource } from '../../properties/materialize.js';
import { failedRun, type OutputError, outputErrorOf } from '../../properties/output-error.js';
import { ReferenceKernel } from '../../properties/reference-kernel.js';
import { rules } from './rule.js';

const normal = { distribution: 'normal', seed: 7, scale: 0, offset: 0 } as const;
const longCase: Case = {
  schema: CASE_SCHEMA,
  problem: { tokens: [1500], queryHeads: 2, kvHeads: 1, headSize: 128 },
  scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 64 } as Case['scheme'],
  tensors: { q: { ...normal, scale: -3 }, k: normal, v: { ...normal, scale: -1 } },
  options: { softmaxScale: Math.fround(1 / Math.sqrt(128)), splits: 1 },
};

/** The reference with an output that `change` makes. */
function errorOf(change: (output: Uint16Array) => void): OutputError {
  const made = materialize(longCase, noSource);
  if (made.kind === 'error') throw new Error(made.message);
  const right = new ReferenceKernel();
  const kernel = Object.create(right, {
    run: {
      value: (...args: Parameters<Kernel['run']>) => {
        const ran = right.run(...args);
        change(ran.output);
        return ran;
      },
    },
  }) as Kernel;
  const error = outputErrorOf(kernel, longCase, made.inputs);
  if (error === null) throw new Error('unsupported');
  return error;
}

const accepting = (error: OutputError, control = [1e-4]) =>
  rules.filter((rule) => rule.accepts(error, control)).map(({ name }) => name);

describe('the rules of other projects', () => {
  it('all accept the right output', () => {
    expect(accepting(errorOf(() => {}))).toEqual(rules.map(({ name }) => name));
  });

  it('accept an output of zeros by its mean errors, at a length of 1,500', () => {
    const names = accepting(errorOf((output) => output.fill(0)));
    expect(names).toEqual(['mean-absolute-1e-1', 'mse-1']);
  });

  it('reject a NaN, unless only a share of the elements has to be right', () => {
    const names = accepting(
      errorOf((output) => {
        output[3] = 0x7e00;
      }),
    );
    expect(names).toEqual(['percent-98']);
  });

  it('reject one element that is off by an eighth, unless a mean or a share decides', () => {
    const names = accepting(
      errorOf((output) => {
        output[3] = 0x3000 + (~output[3] & 0x8000); // 2^-3 on the other side of zero
      }),
    );
    expect(names).toEqual(['mean-absolute-1e-1', 'mse-1', 'percent-98']);
  });

  it('have no number for a run that failed', () => {
    expect(accepting(failedRun(longCase))).toEqual([]);
  });
});
