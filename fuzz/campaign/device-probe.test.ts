// The probe sees an error and changed state that a case left behind on a device, and is silent on a
// device that answers as before. The device is the reference that says it is one.
import { expect, it } from 'vitest';
import type { Case } from '../../properties/case.js';
import type { Kernel, RunResult } from '../../properties/kernel.js';
import { ReferenceKernel } from '../../properties/reference-kernel.js';
import { DeviceProbe } from './device-probe.js';

class Device implements Kernel {
  private readonly reference = new ReferenceKernel();
  readonly uri = 'cuda:0';
  readonly device = { name: 'a device', sm: 'sm_90', driver: '1' };
  readonly capabilities = this.reference.capabilities;
  state: 'well' | 'broken' | 'wrong' = 'well';

  supports(c: Case): string | null {
    return this.reference.supports(c);
  }

  run(...args: Parameters<ReferenceKernel['run']>): RunResult {
    if (this.state === 'broken') return { kind: 'device-error', reason: 'an illegal address' };
    const result = this.reference.run(...args);
    if (this.state === 'wrong') result.output[0] ^= 1;
    return result;
  }

  close(): void {}
}

it('a device is probed, an emulator and the host are not', () => {
  expect(DeviceProbe.of(new Device())).not.toBeNull();
  expect(DeviceProbe.of(new ReferenceKernel())).toBeNull();
});

it('an error that a case left behind, and other bits, are complaints', () => {
  const device = new Device();
  const probe = DeviceProbe.of(device) as DeviceProbe;
  expect(probe.complaint()).toBeNull();
  device.state = 'broken';
  expect(probe.complaint()).toContain('an illegal address');
  device.state = 'wrong';
  expect(probe.complaint()).toContain('other bits');
  device.state = 'well';
  expect(probe.complaint()).toBeNull();
});
