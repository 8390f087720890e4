import { PDFName, PDFNumber } from 'pdf-lib'
import type { PDFDocument } from 'pdf-lib'

/** Rows of three bits, top to bottom, as octal digits. */
const glyphs: Readonly<Record<string, string>> = {
  A: '25755', B: '65656', C: '34443', D: '65556', E: '74647', F: '74644', G: '34553', H: '55755', I: '72227',
  J: '11152', K: '55655', L: '44447', M: '57755', N: '65555', O: '25552', P: '65644', Q: '25573', R: '65655',
  S: '34216', T: '72222', U: '55557', V: '55552', W: '55775', X: '55255', Y: '55222', Z: '71247', '0': '75557',
  '1': '26227', '2': '71747', '3': '71317', '4': '55711', '5': '74717', '6': '74757', '7': '71122', '8': '75757',
  '9': '75717', '.': '00002', ',': '00024', '-': '00700', ':': '02020', '/': '11244',
} // prettier-ignore

const width = 320
const height = 452

/**
 * A page that is nothing but a picture, as a scanner makes it: the letters are pixels, so there is no text layer.
 * One bit a pixel, compressed by pdf-lib, so that the bytes do not depend on the machine's zlib.
 */
export function printScan(pdf: PDFDocument, lines: readonly string[]): void {
  const rowBytes = Math.ceil(width / 8)
  // White paper: in DeviceGray at one bit, 1 is white.
  const bits = new Uint8Array(rowBytes * height).fill(0xff)
  const dot = (x: number, y: number): void => {
    if (x < 0 || y < 0 || x >= width || y >= height) return
    const at = y * rowBytes + (x >> 3)
    bits[at] = (bits[at] ?? 0xff) & ~(0x80 >> (x & 7))
  }
  lines.forEach((text, row) => {
    ;[...text.toUpperCase()].forEach((letter, column) => {
      const glyph = glyphs[letter] ?? '00000'
      ;[...glyph].forEach((octal, dy) => {
        for (let dx = 0; dx < 3; dx++) {
          // Two lines down the page for every sixty pixels across: paper never lies quite straight.
          const x = 24 + column * 5 + dx
          if ((Number(octal) & (4 >> dx)) !== 0) dot(x, 28 + row * 12 + dy + Math.floor(x / 60))
        }
      })
    })
  })
  // Specks, from a small fixed generator (Park and Miller, 1988).
  for (let index = 0, seed = 20261105; index < 220; index++) {
    seed = (seed * 16807) % 2147483647
    dot(seed % width, Math.floor(seed / width) % height)
  }
  const image = pdf.context.flateStream(bits, {
    Type: 'XObject',
    Subtype: 'Image',
    Width: PDFNumber.of(width),
    Height: PDFNumber.of(height),
    ColorSpace: 'DeviceGray',
    BitsPerComponent: PDFNumber.of(1),
  })
  const page = pdf.addPage([595, 842])
  page.node.setXObject(PDFName.of('Scan'), pdf.context.register(image))
  const content = pdf.context.flateStream('q 595 0 0 842 0 0 cm /Scan Do Q')
  page.node.addContentStream(pdf.context.register(content))
}
