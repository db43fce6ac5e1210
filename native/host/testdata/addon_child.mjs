// addon_child.mjs PATH - loads the addon at PATH and calls what its parent sends: {id, name, args}
// comes back as {id, value} or {id, error}. Kernels of tests crash on purpose, so they run here and
// never in the test.
import { createRequire } from 'node:module';

const addon = createRequire(import.meta.url)(process.argv[2]);

process.on('message', ({ id, name, args }) => {
  try {
    process.send({ id, value: addon[name](...args) });
  } catch (error) {
    process.send({ id, error: error.message });
  }
});
