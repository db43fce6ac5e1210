// law.ts - the laws of the interface between kvproof and a kernel, each as the failures that break
// it: signatures of a run (campaign/outcome.ts) or of the properties that are judged for it.
//
// What a kernel computes is one law of many here; `verify` is what looks for wrong numbers.

import type { Capabilities } from '../../properties/kernel.js';

export interface Law {
  readonly name: string;
  readonly statement: string;
  /** Properties that are judged for it; those of other laws are judged as well. */
  readonly properties: readonly string[];
  /** Whether a failure of this signature breaks this law and not another one. */
  breaks(signature: string): boolean;
  /** Why the law says nothing about a kernel, or null. */
  idle(capabilities: Capabilities, onHost: boolean): string | null;
}

const always = () => null;

function ofProperties(...names: string[]): (signature: string) => boolean {
  return (signature) => names.some((name) => signature.startsWith(`${name}/`));
}

function matching(pattern: RegExp): (signature: string) => boolean {
  return (signature) => pattern.test(signature);
}

/** In the order in which they are reported; the first that a failure breaks is named for it. */
export const LAWS: readonly Law[] = [
  {
    name: 'protocol',
    statement: 'Every question gets one answer, in the form of the protocol.',
    properties: [],
    breaks: matching(/crash\/protocol/),
    idle: always,
  },
  {
    name: 'returns',
    statement: 'What it declares, it runs to the end: no crash, no hang, no refusal, no error.',
    properties: [],
    breaks: matching(/^run\/(?!shape)/),
    idle: always,
  },
  {
    name: 'sizes',
    statement: 'Every result has the size that the problem gives it.',
    properties: [],
    breaks: matching(/^run\/shape/),
    idle: always,
  },
  {
    name: 'inputs',
    statement: 'Inputs stay as they are.',
    properties: [],
    breaks: matching(/\/input-changed/),
    idle: always,
  },
  {
    name: 'memory',
    statement: 'It writes all of its outputs and nothing outside of its buffers.',
    properties: ['redzone', 'padding-content'],
    breaks: ofProperties('redzone', 'padding-content'),
    idle: always,
  },
  {
    name: 'declines',
    statement: 'What it does not declare, it declines, with a reason.',
    properties: ['declines', 'refusal'],
    breaks: ofProperties('declines', 'refusal'),
    idle: always,
  },
  {
    name: 'survives',
    statement: 'Run with a case that it declines, it returns an error and works on.',
    properties: ['survives'],
    breaks: ofProperties('survives'),
    idle: always,
  },
  {
    name: 'same-answer',
    statement: 'The same case gives the same bits, whatever ran before.',
    properties: ['determinism', 'history'],
    breaks: ofProperties('determinism', 'history'),
    idle: ({ deterministic }) =>
      deterministic ? null : 'the kernel does not declare equal bits on every run',
  },
  {
    name: 'stream',
    statement: 'It works on the stream that it is given, after what is there already.',
    properties: ['stream'],
    breaks: ofProperties('stream'),
    idle: ({ streams, emulated }, onHost) => {
      if (streams === true) return null;
      if (emulated) return 'launches on the emulator end before they return';
      return onHost ? 'kernels on host memory have no stream' : 'its streams are its own affair';
    },
  },
  {
    name: 'schedule',
    statement: 'A kernel that claims a schedule reports it: equal for equal seeds.',
    properties: ['schedule'],
    breaks: ofProperties('schedule'),
    idle: ({ emulated }) => (emulated ? null : 'the kernel claims no schedule'),
  },
  {
    name: 'cache',
    statement: 'Its cache holds what the format makes of K and V.',
    properties: ['exact-codes'],
    breaks: ofProperties('exact-codes'),
    idle: always,
  },
  {
    name: 'attention',
    statement: 'Output and lse lie within the bound of attention over its own cache.',
    properties: ['error-bound', 'needle', 'zero-query'],
    breaks: () => true,
    idle: always,
  },
];

/** The law that a failure of this signature breaks. */
export function lawOf(signature: string): Law {
  return LAWS.find((law) => law.breaks(signature)) ?? LAWS[LAWS.length - 1];
}
