import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['convoke-source'] },
  ssr: { resolve: { conditions: ['convoke-source'], externalConditions: ['convoke-source'] } },
  test: {
    include: [
      'packages/*/src/**/*.test.ts',
      'packages/*/test/**/*.test.ts',
      'examples/**/*.test.ts',
      'bench/*.test.ts',
      'scripts/**/*.test.ts',
    ],
    exclude: ['**/node_modules/**', '**/dist/**', 'bench/peers/**'],
    pool: 'forks',
    testTimeout: 30_000,
  },
})
