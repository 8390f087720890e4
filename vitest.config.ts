import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

// Where .ci/run reads the counts from; people need only the terminal.
const report = process.env['CONVOKE_TEST_REPORT']

export default defineConfig({
  resolve: { conditions: ['convoke-source'] },
  ssr: { resolve: { conditions: ['convoke-source'], externalConditions: ['convoke-source'] } },
  test: {
    include: [
      'packages/*/src/**/*.test.ts',
      'packages/*/test/**/*.test.ts',
      'examples/**/*.test.ts',
      'bench/**/*.test.ts',
      'scripts/**/*.test.ts',
    ],
    exclude: ['**/node_modules/**', '**/dist/**', 'bench/peers/**', 'bench/specs/**'],
    pool: 'forks',
    // Threads of sources take their types away with WebAssembly. V8's list of code pages suffers from such code that comes and
    // goes in several threads (CHECK `jit_page.has_value()`, nodejs/node 64500) where it is kept for the processor's
    // protection keys. Threads of the built package run JavaScript alone.
    execArgv: ['--no-memory-protection-keys'],
    // Much of the time is spent waiting for processes and disks; of two cores vitest would use one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 30_000,
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
  },
})
