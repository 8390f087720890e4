/** Where a response of the gateway's keeps its body, beside the stream that it shows. */
export const held: unique symbol = Symbol('body')

/** A response's text; that of one of the gateway's, which nobody has begun to read, without the price of a stream. */
export async function textOf(response: Response): Promise<string> {
  const bytes = (response as { readonly [held]?: Uint8Array })[held]
  return bytes === undefined || response.bodyUsed ? response.text() : new TextDecoder().decode(bytes)
}
