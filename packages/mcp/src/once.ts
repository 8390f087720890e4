/**
 * One at a time: whoever asks while it goes on is answered by the one after, which all of them share. So what was true when
 * somebody asked has always been looked at.
 */
export function oneAtATime(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined
  return () =>
    (next ??= running
      .catch(() => undefined)
      .then(() => {
        next = undefined
        return (running = work())
      }))
}
