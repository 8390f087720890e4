/** A plugin for ESLint and oxlint with the rule `no-shared-branch-variable`. */
declare const plugin: {
  readonly meta: { readonly name: string }
  readonly rules: { readonly 'no-shared-branch-variable': object }
}
export default plugin
