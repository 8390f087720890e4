import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { Finding } from 'convoke'

/** File systems on which SQLite's locks or shared memory do not work, or that forget at reboot. */
const networked = /^(nfs|nfs4|cifs|smb2|smbfs|9p|fuse\.sshfs|afs|vboxsf)$/
const volatile = /^(tmpfs|ramfs|overlay)$/

/** Whether a folder's disk can hold a store. */
export function diskOf(dir: string): Finding {
  const type = fsType(dir)
  const free = freeBytes(dir)
  const says = [type ?? 'unknown file system', ...(free === undefined ? [] : [`${size(free)} free`])].join(', ')
  if (type !== undefined && networked.test(type))
    return {
      name: 'disk',
      state: 'bad',
      says: `${says}: locks over a network do not hold`,
      next: 'put the store on a local disk',
    }
  if (free !== undefined && free < 100 << 20) return { name: 'disk', state: 'warn', says, next: 'free some space' }
  if (type !== undefined && volatile.test(type))
    return { name: 'disk', state: 'warn', says: `${says}: it may not outlive this machine's or container's restart` }
  return { name: 'disk', state: 'ok', says }
}

function nearest(dir: string): string {
  let at = dir
  for (let i = 0; i < 100 && !existsSync(at); i++) at = join(at, '..')
  return at
}

function freeBytes(dir: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(nearest(dir))
    return bavail * bsize
  } catch {
    return undefined
  }
}

/** The mount whose path is the longest beginning of the folder's; on systems without /proc, what `stat` says. */
function fsType(dir: string): string | undefined {
  const at = nearest(dir)
  try {
    let found: { readonly path: string; readonly type: string } | undefined
    for (const mount of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
      const [, path, type] = mount.split(' ')
      if (path === undefined || type === undefined) continue
      const inside = at === path || at.startsWith(path === '/' ? '/' : `${path}/`)
      if (inside && path.length >= (found?.path.length ?? 0)) found = { path, type }
    }
    return found?.type
  } catch {
    try {
      return execFileSync('stat', ['-f', '%T', at], { encoding: 'utf8', timeout: 2_000 }).trim()
    } catch {
      return undefined
    }
  }
}

export function size(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let n = bytes
  let i = 0
  while (n >= 1000 && i < units.length - 1) {
    n /= 1000
    i++
  }
  return `${i === 0 ? n : n.toFixed(1)} ${units[i] ?? ''}`
}
