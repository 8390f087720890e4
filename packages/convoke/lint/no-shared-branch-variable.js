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

/**
 * A variable shared between branches is outside the guarantee (rule R11): branches hand over by what they return, or by
 * the board.
 */
export const noSharedBranchVariable = {
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
              message: `${reference.identifier.name} is shared between branches: return the value, or use the board`,
            })
        }
      }
    },
  }),
}
