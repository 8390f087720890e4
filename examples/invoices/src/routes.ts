/** One shipped invoice of each route through the squad, for tests that cannot afford them all. */
export const routes: readonly string[] = [
  'broken.pdf',
  'inv-1001.pdf',
  'inv-1004.pdf',
  'inv-1005.pdf',
  'inv-1008.pdf',
  'inv-1010.pdf',
  'inv-1011.pdf',
  'inv-1016.pdf',
]
