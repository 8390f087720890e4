import { noSharedBranchVariable } from './no-shared-branch-variable.js'

/**
 * A plugin for ESLint (flat configuration) and oxlint (`jsPlugins`). Its rules find what replay cannot see:
 * `convoke/no-shared-branch-variable`. Plain JavaScript, because linters load it as it stands.
 */
export default {
  meta: { name: 'convoke' },
  rules: { 'no-shared-branch-variable': noSharedBranchVariable },
}
