// options.ts - what every measurement on a GPU is told, and how one says that it failed.

export interface BenchOptions {
  readonly runs: number;
  readonly seed: number;
  /** What happens, line by line. */
  readonly say: (line: string) => void;
}

/** Exit code 1: the kernel is wrong; 3: the device or the tool failed. */
export interface BenchError {
  readonly kind: 'error';
  readonly exitCode: 1 | 3;
  readonly message: string;
}
