import { ConvokeError } from './errors.ts'

// A path says where a step stands: enclosing scopes joined by '/', then its name, then '#2', '#3' for repeats of the
// name in that scope. Names that contain the separators (keys of `map` come from data) are percent-encoded, so that a
// path can be taken apart again without doubt. '~' is the engine's own: `<path>~undo` is a compensation,
// `<path>~committed` what became of an alternative. No name can stand where one of those does.

const maxName = 200

/** @throws NAME_INVALID when empty, longer than 200 characters, or not well-formed text */
export function encodeName(name: string): string {
  if (typeof name !== 'string' || name === '' || name.length > maxName || !name.isWellFormed())
    throw new ConvokeError(
      'NAME_INVALID',
      `${JSON.stringify(name)} cannot name a step: 1 to ${maxName} characters of well-formed text`,
      {
        next: 'give the step, branch or key a short name',
      },
    )
  return name.replace(/[%/#~\u0000-\u001f]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0'))
}

export function joinPath(scope: string, name: string, repeat: number): string {
  const own = repeat > 1 ? `${encodeName(name)}#${repeat}` : encodeName(name)
  return scope === '' ? own : `${scope}/${own}`
}

/** The scope a path stands in; '' is the run itself. */
export function parentPath(path: string): string {
  const cut = path.lastIndexOf('/')
  return cut < 0 ? '' : path.slice(0, cut)
}

export function isInside(path: string, scope: string): boolean {
  return scope === '' || path === scope || (path.startsWith(scope) && path.charCodeAt(scope.length) === 47)
}

/** The readable name of a path's last part, decoded, without its repeat. */
export function nameOf(path: string): string {
  const last = path.slice(path.lastIndexOf('/') + 1)
  const cut = last.indexOf('#')
  return decodeURIComponent(cut < 0 ? last : last.slice(0, cut))
}
