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
