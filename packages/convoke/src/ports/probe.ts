/**
 * A named place in the code at which a test may look, wait or kill the process. Production passes none. Points stand
 * at commit boundaries: around every append (`append.before:<type>`, `append.after:<type>`, `<type>` of the batch's
 * first critical record, such as an intent, else of its first), inside the ledger's transaction (`commit.before`, `commit.after`) and around every external call
 * (`tool.before:<tool>`, `tool.after:<tool>`, `model.before:<model>`, `model.after:<model>`).
 */
export type Probe = (point: string) => void
