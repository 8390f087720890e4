import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as main from '../../src/index.ts'
import * as sqlite from '../../src/sqlite.ts'
import * as patterns from '../../src/patterns.ts'
import * as adapter from '../../src/adapter.ts'
import * as isolate from '../../src/isolate.ts'
import * as views from '../../src/views.ts'
import * as testing from '../../src/testing.ts'
import { codes } from '../../src/core/codes.ts'

// What users, stores and other processes rely on. A change here is a change of the contract: say so in a changeset.

test('exports are named on purpose', () => {
  expect({
    main: Object.keys(main).sort(),
    adapter: Object.keys(adapter).sort(),
    isolate: Object.keys(isolate).sort(),
    sqlite: Object.keys(sqlite).sort(),
    testing: Object.keys(testing).sort(),
    patterns: Object.keys(patterns).sort(),
    views: Object.keys(views).sort(),
  }).toMatchSnapshot()
})

test('error codes and how they are handled', () => {
  expect(Object.fromEntries(Object.entries(codes).map(([code, { handling }]) => [code, handling]))).toMatchSnapshot()
})

test('record types that this version writes', () => {
  const rooms = join(import.meta.dirname, '../../src/{replay,gateway,policy,agents,app,ledger-sqlite,core}/**/*.ts')
  const text = globSync(rooms)
    .filter((file) => !file.endsWith('.test.ts'))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n')
  const types = new Set(
    text.match(
      /'(?:run|step|tool|approval|policy|trust|halt|action|task|role|briefing|answer|guardrail|attempt|race|board|checkpoint|patch|timer|child|inbox|value|model)\.[a-z-]+'/g,
    ),
  )
  expect([...types].sort()).toMatchSnapshot()
})
