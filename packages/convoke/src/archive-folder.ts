import { createReadStream } from 'node:fs'
import { mkdir, open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { ArchivePlace } from './archive-store.ts'

/** Archives in a folder, readable by its owner only. A file has its name once all of it is on disk. */
export function archiveFolder(dir: string): ArchivePlace {
  return {
    async write(name, bytes) {
      await mkdir(dir, { recursive: true, mode: 0o700 })
      const [file, part] = [join(dir, name), join(dir, `${name}.part`)]
      const handle = await open(part, 'w', 0o600)
      try {
        for await (const chunk of bytes) await handle.appendFile(chunk)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(part, file)
      const folder = await open(dir, 'r')
      try {
        await folder.sync()
      } finally {
        await folder.close()
      }
    },
    read: (name) => createReadStream(join(dir, name)),
  }
}
