import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

// Where .ci/run reads the counts from; people need only the terminal.
const report = process.env['CONVOKE_TEST_REPORT']

/** Each takes minutes. On a clean clone vitest would begin with large files, and end waiting for the first of these alone. */
const longest = ['invoices/src/crash.test.ts', 'ledger/differential.test.ts', 'bench/run.test.ts', 'cluster.test.ts']

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = longest.findIndex((end) => moduleId.endsWith(end))
      return place < 0 ? longest.length : place
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}

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
    // Threads are the built package, and so is what the examples' tests start.
    globalSetup: 'scripts/test-setup.ts',
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    // Programs that tests start read sources once, not each time.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/compile') },
    // Much of the time is spent waiting for processes and disks; of two cores vitest would use one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 30_000,
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
  },
})
