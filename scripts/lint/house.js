/**
 * Lint rules of this house that no plugin offers. Plain JavaScript: oxlint loads the file as it stands.
 * Tested by scripts/lint.test.ts with the canaries.
 */

/** Exports are named on purpose: `export *` publishes whatever a file happens to hold. */
const noExportAll = {
  create: (context) => ({
    ExportAllDeclaration: (node) => context.report({ node, message: 'export by name: `export *` is not allowed' }),
  }),
}

const AMBIENT_MEMBERS = new Map([
  ['Date', new Set(['now'])],
  ['Math', new Set(['random'])],
  ['performance', new Set(['now'])],
  ['crypto', new Set(['randomUUID', 'getRandomValues'])],
])
const AMBIENT_IMPORTS = new Set(['randomUUID', 'randomBytes', 'randomInt', 'randomFillSync', 'randomFill'])

/** Time, ids and randomness are passed in, so that live equals replay and tests own the clock. */
const noAmbient = {
  create: (context) => {
    const report = (node, what) =>
      context.report({ node, message: `${what} is ambient: take it from a port (Clock, Ids)` })
    return {
      MemberExpression: (node) => {
        const names = node.object.type === 'Identifier' ? AMBIENT_MEMBERS.get(node.object.name) : undefined
        if (!node.computed && names?.has(node.property.name)) report(node, `${node.object.name}.${node.property.name}`)
      },
      NewExpression: (node) => {
        if (node.callee.type === 'Identifier' && node.callee.name === 'Date' && node.arguments.length === 0)
          report(node, 'new Date()')
      },
      ImportDeclaration: (node) => {
        if (node.source.value !== 'node:crypto') return
        for (const s of node.specifiers)
          if (s.type === 'ImportSpecifier' && AMBIENT_IMPORTS.has(s.imported.name)) report(s, s.imported.name)
      },
    }
  },
}

export default {
  meta: { name: 'house' },
  rules: { 'no-export-all': noExportAll, 'no-ambient': noAmbient },
}
