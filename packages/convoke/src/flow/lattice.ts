import { joinLabels, type Labels } from '../core/labels.ts'

/** What a declassifying or endorsing act changes; sources stay, so that the way a value came is never lost. */
export interface Relabel {
  readonly integrity?: 'trusted'
  /** Confidentiality labels that are taken off. */
  readonly release?: readonly string[]
}

export function relabelled(labels: Labels, change: Relabel, by: string): Labels {
  const release = change.release ?? []
  return joinLabels([
    {
      ...labels,
      integrity: change.integrity ?? labels.integrity,
      confidentiality: labels.confidentiality.filter((label) => !release.includes(label)),
    },
    { integrity: 'trusted', confidentiality: [], sources: [by] },
  ])
}

/** Whether information may go from one label to another without an act: only to where it is trusted less and seen by fewer. */
export function flows(from: Labels, to: Labels): boolean {
  return (
    (from.integrity === 'trusted' || to.integrity === 'untrusted') &&
    from.confidentiality.every((label) => to.confidentiality.includes(label))
  )
}
