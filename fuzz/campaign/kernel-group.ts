// kernel-group.ts - a kernel of a campaign and the lanes that run it.
//
// An emulated kernel gets its share of the workers; a GPU gets one worker, since two processes on
// one device only wait for each other. "cuda:*" is one kernel with a lane on every GPU of the host:
// they share one plan, so that each case runs once, on whichever device is free.

import { Lane } from './lane.js';
import type { Workdir } from './workdir.js';
import { type Hello, type WorkerLimits, WorkerProcess } from './worker-process.js';

export const ALL_GPUS = 'cuda:*';

export interface GroupLane {
  readonly uri: string;
  readonly hello: Hello;
  readonly lane: Lane;
  readonly slot: number;
}

export interface KernelGroup {
  /** As the campaign names it. */
  readonly name: string;
  /** Of its first lane; the others have the same capabilities. */
  readonly hello: Hello;
  readonly lanes: readonly GroupLane[];
}

export interface GroupOptions {
  readonly checked: boolean;
  readonly twin: string | undefined;
  readonly sweep?: boolean;
  readonly workdir: Workdir;
  readonly limits: WorkerLimits;
  readonly workerPath?: string;
}

export type GroupsResult =
  | { kind: 'groups'; groups: KernelGroup[] }
  | { kind: 'error'; exitCode: 2 | 3; message: string };

/** Opens every kernel once; further processes start with their first case. */
export async function openGroups(
  kernels: readonly string[],
  workers: number,
  options: GroupOptions,
): Promise<GroupsResult> {
  const wanted = await namesOf(kernels, options);
  if (wanted.kind === 'error') return wanted;
  const groups: KernelGroup[] = [];
  const share = Math.max(1, Math.floor(workers / wanted.kernels.length));
  let slot = 0;
  const close = async () => {
    for (const { lanes } of groups) for (const { lane } of lanes) await lane.close();
  };
  for (const { name, uris } of wanted.kernels) {
    const lanes: GroupLane[] = [];
    groups.push({ name, lanes, hello: undefined as unknown as Hello });
    for (const uri of uris) {
      const opened = await Lane.open({ uri, slot: slot++, ...options });
      if (opened.kind === 'error') {
        await close();
        return opened;
      }
      const { lane, hello } = opened;
      lanes.push({ uri, hello, lane, slot: slot - 1 });
      const more = uris.length > 1 || uri.startsWith('cuda:') ? 0 : share - 1;
      for (let i = 0; i < more; i++) {
        lanes.push({ uri, hello, lane: lane.sibling(slot), slot: slot++ });
      }
    }
    groups[groups.length - 1] = { name, lanes, hello: lanes[0].hello };
    const other = lanes.find(
      ({ hello }) =>
        JSON.stringify(hello.capabilities) !== JSON.stringify(lanes[0].hello.capabilities),
    );
    if (other !== undefined) {
      await close();
      const both = `${other.uri} and ${lanes[0].uri}`;
      const message = `${name}: ${both} differ in what they support, name them apart`;
      return { kind: 'error', exitCode: 2, message };
    }
  }
  return { kind: 'groups', groups };
}

type Names =
  | { kind: 'names'; kernels: { name: string; uris: string[] }[] }
  | { kind: 'error'; exitCode: 2 | 3; message: string };

async function namesOf(kernels: readonly string[], options: GroupOptions): Promise<Names> {
  const asked = [...new Set(kernels)];
  if (asked.length > 0 && !asked.includes(ALL_GPUS)) {
    return { kind: 'names', kernels: asked.map((name) => ({ name, uris: [name] })) };
  }
  const listed = await WorkerProcess.list(options.workdir);
  if (listed.kind === 'error') return listed;
  const devices = listed.kernels.filter(({ uri }) => uri.startsWith('cuda:'));
  const gpus = devices.filter(({ available }) => available).map(({ uri }) => uri);
  if (asked.length === 0) {
    const name = gpus.length > 0 ? ALL_GPUS : 'sim:sm_90';
    return { kind: 'names', kernels: [{ name, uris: gpus.length > 0 ? gpus : [name] }] };
  }
  if (gpus.length === 0) {
    const why = devices[0]?.detail ?? 'no device answers';
    return { kind: 'error', exitCode: 3, message: `${ALL_GPUS}: ${why}` };
  }
  const named = asked.map((name) => ({ name, uris: name === ALL_GPUS ? gpus : [name] }));
  return { kind: 'names', kernels: named };
}
