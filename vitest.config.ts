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
    // Threads, and programs that tests start, are the built package.
    globalSetup: 'scripts/test-setup.ts',
    pool: 'forks',
    // Much of the time is spent waiting for processes and disks; of two cores vitest would use one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 30_000,
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
  },
})
