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

const BRANCHING = new Set(['all', 'race', 'map', 'attempt'])
const MUTATORS = new Set([
  'push',
  'unshift',
  'pop',
  'shift',
  'splice',
  'sort',
  'reverse',
  'set',
  'add',
  'delete',
  'clear',
])
const COLLECTIONS = new Set(['Array', 'Map', 'Set', 'WeakMap', 'WeakSet'])

const isFunction = (node) => node.type === 'ArrowFunctionExpression' || node.type === 'FunctionExpression'

/** The functions that a call of `run.all`, `race`, `map` or `attempt` starts as branches. */
function branchesOf(call) {
  return call.arguments.flatMap((arg) => {
    if (isFunction(arg)) return [arg]
    if (arg.type !== 'ObjectExpression') return []
    return arg.properties.flatMap((p) => (p.type === 'Property' && isFunction(p.value) ? [p.value] : []))
  })
}

/** Whether a reference changes the variable or what it holds; method calls count on arrays, maps and sets only. */
function changes(reference) {
  if (reference.isWrite()) return true
  const member = reference.identifier.parent
  if (member?.type !== 'MemberExpression' || member.object !== reference.identifier) return false
  const use = member.parent
  if (use.type === 'AssignmentExpression') return use.left === member
  if (use.type === 'UpdateExpression' || (use.type === 'UnaryExpression' && use.operator === 'delete')) return true
  if (use.type !== 'CallExpression' || use.callee !== member || !MUTATORS.has(member.property.name)) return false
  const init = reference.resolved?.defs[0]?.node.init
  return init?.type === 'ArrayExpression' || (init?.type === 'NewExpression' && COLLECTIONS.has(init.callee.name))
}

/** R11: a variable shared between branches is outside the guarantee; branches hand over by what they return, or the board. */
const noSharedBranchVariable = {
  create: (context) => ({
    CallExpression: (node) => {
      const { callee } = node
      if (callee.type !== 'MemberExpression' || !BRANCHING.has(callee.property.name)) return
      if (callee.object.type !== 'Identifier' || !/^(?:r|run|ctx|scope|branch)$|Run$/.test(callee.object.name)) return
      for (const branch of branchesOf(node)) {
        for (const reference of context.sourceCode.getScope(branch).through) {
          if (reference.resolved !== null && changes(reference))
            context.report({
              node: reference.identifier,
              message: `${reference.identifier.name} is shared between branches (R11): return the value, or use the board`,
            })
        }
      }
    },
  }),
}

export default {
  meta: { name: 'house' },
  rules: { 'no-export-all': noExportAll, 'no-ambient': noAmbient, 'no-shared-branch-variable': noSharedBranchVariable },
}
