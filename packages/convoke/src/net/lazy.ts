import type { Network } from '../ports/network.ts'
import { admission } from './rules.ts'

/** A network whose HTTP is loaded with the first request: programs that call nobody start faster. */
export function lazyNetwork(): Network {
  let opened: Promise<Network> | undefined
  return {
    admit: (rules) => void admission(rules),
    async request(request) {
      opened ??= import('./network.ts').then(({ openNetwork }) => openNetwork())
      return (await opened).request(request)
    },
    close() {
      void opened?.then((network) => network.close())
      opened = undefined
    },
  }
}
